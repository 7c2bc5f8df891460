"""Rows of the registry for tests that need no process: a model, its versions, its instances, its people."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from models_app.choices import FileStatus, InstanceState
from models_app.models import Instance, ModelVersion, RegisteredModel
from models_app.services.nodes import this_node

PICTURES = {"name": "image", "dtype": "float32", "shape": [None, 8, 8, 1]}
NUMBERS = {"name": "flower", "dtype": "float32", "shape": [None, 4]}
SCORES = {"name": "scores", "dtype": "float32", "shape": [None, 3]}


def make_version(name: str = "digits", *states: InstanceState, takes: Any = PICTURES, **fields: Any) -> ModelVersion:
    """The next version of a model, checked and ready, with one instance in each of `states`."""
    model, _ = RegisteredModel.objects.get_or_create(name=name)
    model.last_number += 1
    model.save()
    defaults = {
        "file_key": f"{model.pk}-{model.last_number}",
        "file_name": "model.keras",
        "size_bytes": 62_000,
        "sha256": "0" * 64,
        "status": FileStatus.READY,
        "format": "keras",
        "engine_selected": "tensorflow",
        "signature_json": {"inputs": [takes], "outputs": [SCORES]},
    }
    version = ModelVersion.objects.create(model=model, number=model.last_number, **defaults | fields)
    for state in states:
        Instance.objects.create(version=version, node=this_node(), state=state, state_since=timezone.now())
    return version


def make_user(name: str = "ada", *verbs: str, **fields: Any) -> User:
    """A person with these permissions on versions: predict, load, view …"""
    user = User.objects.create_user(name, password="a-password-of-ada", **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{verb}_modelversion" for verb in verbs]))
    return user
