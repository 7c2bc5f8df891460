"""Predict: ask the runner of a loaded version, answer in the form of the contract."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings

from inference import tensors
from inference.client import Reply, runners
from inference.errors import BadImage, BadInput, ValidationFailed
from inference.postprocessing import image_predictions, tensor_prediction
from models_app.models import Instance, ModelVersion

MOST_IMAGES = settings.PORTAL_MAX_IMAGES


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture; `name` is the file's name as sent, or its index."""

    name: str | int
    data: bytes


def predict_pictures(
    version: ModelVersion, instances: Sequence[Instance], pictures: Sequence[Picture], *, top: int | None = None
) -> dict[str, Any]:
    """PREDICTION for encoded pictures, one element each. Raises BadImage that names the first bad one."""
    prediction, bad = ask_pictures(version, instances, pictures, top=top, is_strict=True)
    if bad:
        index, sentence = min(bad.items())
        name = pictures[index].name
        raise BadImage(
            sentence if len(pictures) == 1 else f"{'Image' if isinstance(name, int) else ''} {name}: {sentence}".strip()
        )
    return prediction


def ask_pictures(
    version: ModelVersion,
    instances: Sequence[Instance],
    pictures: Sequence[Picture],
    *,
    top: int | None = None,
    is_strict: bool = False,
) -> tuple[dict[str, Any], dict[int, str]]:
    """PREDICTION for those pictures that can be read, and the sentence for each that cannot."""
    began = time.perf_counter()
    if not 0 < len(pictures) <= MOST_IMAGES:
        raise ValidationFailed.of("image", f"Send between 1 and {MOST_IMAGES} images.")
    reply: Reply = async_to_sync(runners.ask_images)(
        _paths(instances), [p.data for p in pictures], timeout_s=_timeout_s(version), is_strict=is_strict
    )
    answers: list[dict[str, Any]] = []
    if reply.outputs:
        names = [p.name for i, p in enumerate(pictures) if i not in reply.bad_images]
        rows = image_predictions(
            reply.outputs, version.signature, version.postprocessing, version.labels, top, pictures=len(names)
        )
        answers = [{"image": name, **row} for name, row in zip(names, rows, strict=True)]
    return _prediction(version, instances, answers, reply, began), reply.bad_images


def predict_tensors(
    version: ModelVersion, instances: Sequence[Instance], body: Mapping[str, Any], *, top: int | None = None
) -> dict[str, Any]:
    """PREDICTION for `{"instances": …}` or `{"inputs": …}`: one element, batch kept."""
    began = time.perf_counter()
    if ("instances" in body) == ("inputs" in body):
        raise ValidationFailed("Send either instances or inputs.")
    make = tensors.from_instances if "instances" in body else tensors.from_columns
    inputs = tensors.conform(make(body.get("instances", body.get("inputs")), version.signature), version.signature)
    if sum(array.nbytes for array in inputs.values()) > settings.PORTAL_MAX_REQUEST_BYTES * 4:
        raise BadInput("The tensors are too large for one request. Send fewer examples.")
    reply: Reply = async_to_sync(runners.ask_tensors)(_paths(instances), inputs, timeout_s=_timeout_s(version))
    answers = tensor_prediction(reply.outputs, version.signature, version.postprocessing, version.labels, top)
    return _prediction(version, instances, answers, reply, began)


def see_picture(version: ModelVersion, instances: Sequence[Instance], picture: bytes) -> bytes:
    """The picture as the model gets it, as a PNG."""
    seen: bytes = async_to_sync(runners.ask_seen)(_paths(instances), picture, timeout_s=_timeout_s(version))
    return seen


def _prediction(
    version: ModelVersion, instances: Sequence[Instance], answers: list[dict[str, Any]], reply: Reply, began: float
) -> dict[str, Any]:
    timing = {"queue": 0.0, "decode": 0.0, "inference": 0.0} | reply.timing_ms
    return {
        "model": version.model.name,
        "version": version.number,
        "engine": instances[0].engine,
        "predictions": answers,
        "timing_ms": timing | {"total": round((time.perf_counter() - began) * 1000, 3)},
    }


def _paths(instances: Sequence[Instance]) -> list[str]:
    return [instance.socket for instance in instances]


def _timeout_s(version: ModelVersion) -> float:
    return float(version.options_json.get("predict_timeout_s") or settings.PORTAL_PREDICT_TIMEOUT_S)
