"""Predict: ask the runner of a loaded version, answer in the form of the contract.

The asynchronous functions are what the lean path calls; views call the others, which wait for them.
"""

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
from inference.served import Served
from models_app.models import Instance, ModelVersion
from models_app.services.served import served_version

MOST_IMAGES = settings.PORTAL_MAX_IMAGES


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture; `name` is the file's name as sent, or its index."""

    name: str | int
    data: bytes


async def predict_from_pictures(served: Served, pictures: Sequence[Picture], top: int | None) -> dict[str, Any]:
    """PREDICTION for encoded pictures, one element each. Raises BadImage that names the first bad one."""
    prediction, bad = await ask_about_pictures(served, pictures, top, is_strict=True)
    if bad:
        index, sentence = min(bad.items())
        name = pictures[index].name
        raise BadImage(
            sentence if len(pictures) == 1 else f"{'Image' if isinstance(name, int) else ''} {name}: {sentence}".strip()
        )
    return prediction


async def ask_about_pictures(
    served: Served, pictures: Sequence[Picture], top: int | None, *, is_strict: bool
) -> tuple[dict[str, Any], dict[int, str]]:
    """PREDICTION for those pictures that can be read, and the sentence for each that cannot."""
    began = time.perf_counter()
    if not 0 < len(pictures) <= MOST_IMAGES:
        raise ValidationFailed.of("image", f"Send between 1 and {MOST_IMAGES} images.")
    reply = await runners.ask_images(
        served.paths, [p.data for p in pictures], timeout_s=served.timeout_s, is_strict=is_strict
    )
    answers: list[dict[str, Any]] = []
    if reply.outputs:
        names = [p.name for i, p in enumerate(pictures) if i not in reply.bad_images]
        rows = image_predictions(
            reply.outputs, served.signature, served.postprocessing, served.labels, top, pictures=len(names)
        )
        answers = [{"image": name, **row} for name, row in zip(names, rows, strict=True)]
    return _prediction(served, answers, reply, began), reply.bad_images


async def predict_from_tensors(served: Served, body: Mapping[str, Any], top: int | None) -> dict[str, Any]:
    """PREDICTION for `{"instances": …}` or `{"inputs": …}`: one element, batch kept."""
    began = time.perf_counter()
    if ("instances" in body) == ("inputs" in body):
        raise ValidationFailed("Send either instances or inputs.")
    make = tensors.from_instances if "instances" in body else tensors.from_columns
    inputs = tensors.conform(make(body.get("instances", body.get("inputs")), served.signature), served.signature)
    if sum(array.nbytes for array in inputs.values()) > settings.PORTAL_MAX_REQUEST_BYTES * 4:
        raise BadInput("The tensors are too large for one request. Send fewer examples.")
    reply = await runners.ask_tensors(served.paths, inputs, timeout_s=served.timeout_s)
    answers = tensor_prediction(reply.outputs, served.signature, served.postprocessing, served.labels, top)
    return _prediction(served, answers, reply, began)


# ---- for views


def predict_pictures(
    version: ModelVersion, instances: Sequence[Instance], pictures: Sequence[Picture], *, top: int | None = None
) -> dict[str, Any]:
    """PREDICTION for encoded pictures, one element each. Raises BadImage that names the first bad one."""
    prediction: dict[str, Any] = async_to_sync(predict_from_pictures)(served_version(version, instances), pictures, top)
    return prediction


def ask_pictures(
    version: ModelVersion, instances: Sequence[Instance], pictures: Sequence[Picture], *, top: int | None = None
) -> tuple[dict[str, Any], dict[int, str]]:
    """PREDICTION for those pictures that can be read, and the sentence for each that cannot."""
    served = served_version(version, instances)
    answered: tuple[dict[str, Any], dict[int, str]] = async_to_sync(ask_about_pictures)(
        served, pictures, top, is_strict=False
    )
    return answered


def predict_tensors(
    version: ModelVersion, instances: Sequence[Instance], body: Mapping[str, Any], *, top: int | None = None
) -> dict[str, Any]:
    """PREDICTION for `{"instances": …}` or `{"inputs": …}`: one element, batch kept."""
    prediction: dict[str, Any] = async_to_sync(predict_from_tensors)(served_version(version, instances), body, top)
    return prediction


def see_picture(version: ModelVersion, instances: Sequence[Instance], picture: bytes) -> bytes:
    """The picture as the model gets it, as a PNG."""
    served = served_version(version, instances)
    seen: bytes = async_to_sync(runners.ask_seen)(served.paths, picture, timeout_s=served.timeout_s)
    return seen


def _prediction(served: Served, answers: list[dict[str, Any]], reply: Reply, began: float) -> dict[str, Any]:
    timing = {"queue": 0.0, "decode": 0.0, "inference": 0.0} | reply.timing_ms
    return {
        "model": served.model,
        "version": served.number,
        "engine": served.engine,
        "predictions": answers,
        "timing_ms": timing | {"total": round((time.perf_counter() - began) * 1000, 3)},
    }
