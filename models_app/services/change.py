"""Change: how a version is used, while nothing runs. Its file never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from inference.catalog import FORMATS
from inference.errors import ValidationFailed
from inference.options import parse_options
from inference.postprocessing import check_labels, parse_labels, parse_postprocessing
from inference.preprocessing import check_preprocessing, parse_preprocessing
from models_app.choices import FileStatus
from models_app.models import ModelVersion
from models_app.services import choose
from models_app.services.actor import Actor, actor_name
from models_app.services.check import request_check
from models_app.services.find import lock_unused
from models_app.services.move import record
from models_app.services.upload import check_engine

FIELDS = ("labels", "preprocessing", "postprocessing", "options", "engine")


def change_version(version: ModelVersion, given: Mapping[str, Any], *, by: Actor) -> None:
    """Change the fields that are given.

    Raises InUse while it is loaded, NotReady while it is checked, ValidationFailed that names the field. A rejected
    version is checked again, and so is one whose graph gets other inputs or outputs.
    """
    if unknown := sorted(set(map(str, given)) - set(FIELDS)):
        raise ValidationFailed.of(unknown[0], f"Only {', '.join(FIELDS)} can be changed.")
    fields = _parsed(given)
    with transaction.atomic():
        locked = lock_unused(version)
        ends_before = locked.options.graph_ends
        for name, value in fields.items():
            setattr(locked, name, value)
        ends = locked.options.graph_ends
        is_checked_again = ends != ends_before or locked.status == FileStatus.REJECTED
        if locked.status == FileStatus.READY and any(ends.values()) and not FORMATS[locked.format].has_graph_ends:
            word = FORMATS[locked.format].word
            raise ValidationFailed.of("options", f"The {word} file says what its inputs and outputs are.")
        if not is_checked_again:
            _check_fit(locked, given)
        locked.save(update_fields=[*fields])
        if not is_checked_again and {"engine", "options"} & set(given):
            ModelVersion.objects.filter(pk=version.pk).update(**choose.settle(locked, by=by))
        if fields:
            reason, facts = f"Changed: {', '.join(given)}.", {"changed": list(given)}
            record(locked, locked.status, locked.status, reason=reason, facts=facts, by=actor_name(by))
        if is_checked_again and fields:
            ModelVersion.objects.filter(pk=version.pk).update(status=FileStatus.CHECKING, status_detail="")
            request_check(locked, by=by)


def _parsed(given: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "labels" in given:
        fields["labels"] = parse_labels(given["labels"])
    if "preprocessing" in given:
        fields["preprocessing_json"] = parse_preprocessing(given["preprocessing"]).as_json()
    if "postprocessing" in given:
        fields["postprocessing_json"] = parse_postprocessing(given["postprocessing"]).as_json()
    if "options" in given:
        fields["options_json"] = parse_options(given["options"]).as_json()
    if "engine" in given:
        fields["engine"] = check_engine(given["engine"])
    return fields


def _check_fit(version: ModelVersion, given: Mapping[str, Any]) -> None:
    """Whether labels, preprocessing and engine fit a file whose signature is known."""
    if "preprocessing" in given and (sentence := check_preprocessing(version.preprocessing, version.signature)):
        raise ValidationFailed.of("preprocessing", sentence)
    if sentence := check_labels(version.labels, version.signature, version.postprocessing):
        raise ValidationFailed.of("labels" if "labels" in given else "postprocessing", sentence)
    choose.check_fit(version.format, version.engine, version.precision)
