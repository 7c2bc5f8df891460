"""Upload: a received file becomes a version, which is then checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import IntegrityError, transaction

from inference.catalog import ENGINES
from inference.errors import NotFound, ValidationFailed
from inference.json_object import is_text
from inference.options import parse_options
from inference.postprocessing import parse_labels, parse_postprocessing
from inference.preprocessing import parse_preprocessing
from models_app.models import ModelVersion, RegisteredModel
from models_app.services import files
from models_app.services.actor import Actor, actor_name, as_user
from models_app.services.check import request_check
from models_app.services.find import find_model
from models_app.services.load import check_room
from models_app.services.move import record
from models_app.services.nodes import this_node

NAME_WANTED = "A name has at most 100 letters, digits, hyphens and underscores, and nothing else."
_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,100}\Z")
_NOT_IN_A_LABEL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, line ends, halves of surrogate pairs: a file of such a name could not be downloaded."""
DESCRIPTION_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class VersionSettings:
    """How a version is to be used, already checked; the JSON forms are what is stored and shown again."""

    labels: list[str] = field(default_factory=list)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    postprocessing: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    engine: str = "auto"

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> VersionSettings:
        """From the fields of a form (text) or of a JSON body (values). Raises ValidationFailed that names the field."""
        return cls(
            labels=parse_labels(fields["labels"]) if fields.get("labels") else [],
            preprocessing=parse_preprocessing(_decoded(fields, "preprocessing")).as_json(),
            postprocessing=parse_postprocessing(_decoded(fields, "postprocessing")).as_json(),
            options=parse_options(_decoded(fields, "options")).as_json(),
            engine=check_engine(fields.get("engine") or "auto"),
        )


def _decoded(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if value is None or value == "":
        return {}
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ValidationFailed.of(name, f"{name} is not JSON.") from None


def check_engine(name: object) -> str:
    if not isinstance(name, str) or name not in ("auto", *ENGINES):
        raise ValidationFailed.of("engine", f"The engine is auto or one of {', '.join(ENGINES)}.")
    return name


def check_name(name: object, field: str = "name") -> str:
    """A model's name as it stands in addresses. Raises ValidationFailed for the field."""
    if not isinstance(name, str) or not name:
        raise ValidationFailed.of(field, "A name is needed.")
    if not _SLUG.match(name):
        raise ValidationFailed.of(field, NAME_WANTED)
    return name


def check_description(text: object) -> str:
    if not isinstance(text, str) or len(text) > DESCRIPTION_LENGTH or not is_text(text):
        raise ValidationFailed.of(
            "description", f"The description is a text of at most {DESCRIPTION_LENGTH} characters."
        )
    return text


def name_taken(name: str) -> ValidationFailed:
    return ValidationFailed.of("name", f"There is a model called {name} already. Upload a version of it.")


def create_model(
    name: str, received: files.ReceivedFile, settings: VersionSettings, *, by: Actor, description: str = ""
) -> ModelVersion:
    """A new model with its first version. Raises ValidationFailed for `name` where the name exists."""
    check_name(name)

    def make() -> ModelVersion:
        try:
            with transaction.atomic():
                model = RegisteredModel.objects.create(name=name, description=description, owner=as_user(by))
        except IntegrityError:
            raise name_taken(name) from None
        return _create_version(model, received, settings, key, by)

    key = files.store(received)
    return _or_remove(make, key)


def create_version(
    model_name: str, received: files.ReceivedFile, settings: VersionSettings, *, by: Actor
) -> ModelVersion:
    """The next version of a model. Numbers are never used again."""

    def make() -> ModelVersion:
        return _create_version(find_model(model_name), received, settings, key, by)

    find_model(model_name)
    key = files.store(received)
    return _or_remove(make, key)


def register(
    name: str,
    received: files.ReceivedFile,
    settings: VersionSettings,
    *,
    by: Actor,
    number: int | None = None,
    replaces_older: bool = False,
    instances: int = 1,
) -> ModelVersion:
    """A new model with its first version, or the next version where the name exists.

    It gets the `number` asked for if that is higher than those before. `replaces_older`: it is loaded after its check
    as so many `instances`, and once it is ready the older ones are unloaded. Raises NoSlot where nothing can be
    loaded: then no version is made.
    """
    check_name(name)
    if replaces_older:
        check_room(this_node(), instances)

    def make() -> ModelVersion:
        owner = as_user(by)
        model, _ = RegisteredModel.objects.get_or_create(name=name, defaults={"owner": owner})
        version = _create_version(model, received, settings, key, by, number)
        if replaces_older:
            ModelVersion.objects.filter(pk=version.pk).update(replaces_older=True, instances_wanted=instances)
        return version

    key = files.store(received)
    return _or_remove(make, key)


def _or_remove(make: Any, key: str) -> ModelVersion:
    """Run `make` in one transaction; whatever it raises, no file stays."""
    try:
        with transaction.atomic():
            version: ModelVersion = make()
    except BaseException:
        files.remove(key)
        raise
    return version


def _create_version(
    model: RegisteredModel,
    received: files.ReceivedFile,
    settings: VersionSettings,
    key: str,
    by: Actor,
    number: int | None = None,
) -> ModelVersion:
    held = RegisteredModel.objects.select_for_update().filter(pk=model.pk).first()
    if held is None:
        raise NotFound(f"{model.name} was deleted meanwhile.")
    model = held
    model.last_number = max(model.last_number + 1, number or 0)
    model.save(update_fields=["last_number"])
    version = ModelVersion.objects.create(
        model=model,
        number=model.last_number,
        created_by=as_user(by),
        file_key=key,
        file_name=_NOT_IN_A_LABEL.sub("", received.name)[:255] or "model",
        size_bytes=received.size_bytes,
        sha256=received.sha256,
        labels=settings.labels,
        preprocessing_json=settings.preprocessing,
        postprocessing_json=settings.postprocessing,
        options_json=settings.options,
        engine=settings.engine,
    )
    facts = {"size_bytes": received.size_bytes}
    reason = f"Uploaded, {received.size_bytes} bytes."
    record(version, "", "uploaded", reason=reason, facts=facts, by=actor_name(by))
    request_check(version, by=by)
    return version
