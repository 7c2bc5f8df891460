"""The registry: what exists, what is to be loaded, what is loaded."""

from models_app.models.apikey import ApiKey
from models_app.models.conversion import Comparison, Conversion
from models_app.models.instance import Instance, Transition
from models_app.models.job import Job
from models_app.models.login import LoginFailure
from models_app.models.node import Node
from models_app.models.registered_model import RegisteredModel
from models_app.models.version import ModelVersion

__all__ = [
    "ApiKey",
    "Comparison",
    "Conversion",
    "Instance",
    "Job",
    "LoginFailure",
    "ModelVersion",
    "Node",
    "RegisteredModel",
    "Transition",
]
