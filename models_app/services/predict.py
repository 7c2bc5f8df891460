"""Predict: read what a loaded version is asked, write what its runner answers in the form of the REST API.

The lean path awaits the runner in between, and does both in a thread where they are large; views call the functions at
the end, which do all three.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings

from inference import tensors
from inference.client import Reply, Seen, runners
from inference.errors import BadImage, BadInput, ValidationFailed
from inference.postprocessing import image_predictions, tensor_prediction
from inference.served import ModelInput, Pictures, Served, Tensors
from models_app.models import Instance, ModelVersion
from models_app.services.served import served_version

FIRST_OF_SEVERAL = "The file holds several pictures; this is the answer for the first."


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture; `name` is the file's name as sent, or its index."""

    name: str | int
    data: bytes


def as_input(pictures: Sequence[Picture]) -> Pictures:
    return Pictures([picture.data for picture in pictures], [picture.name for picture in pictures])


def read_tensors(served: Served, body: Mapping[str, Any]) -> Tensors:
    """The input in `{"instances": …}` or `{"inputs": …}`. Raises ValidationFailed, BadInput."""
    if ("instances" in body) == ("inputs" in body):
        raise ValidationFailed("Send either instances or inputs.")
    make = tensors.from_instances if "instances" in body else tensors.from_columns
    inputs = tensors.conform(make(body.get("instances", body.get("inputs")), served.signature), served.signature)
    if sum(array.nbytes for array in inputs.values()) > settings.PORTAL_MAX_REQUEST_BYTES * 4:
        raise BadInput("The tensors are too large for one request. Send fewer examples.")
    return Tensors(inputs)


def write_prediction(
    served: Served, model_input: ModelInput, reply: Reply, top: int | None, began: float, *, is_strict: bool = True
) -> dict[str, Any]:
    """PREDICTION: an element for each picture that could be read; one for tensors, with their batch axis. `began` is on
    the clock of time.perf_counter. Strict: raises BadImage that names the first bad picture."""
    if isinstance(model_input, Tensors):
        answers = tensor_prediction(reply.outputs, served.signature, served.postprocessing, served.labels, top)
    else:
        if is_strict and reply.bad_images:
            raise _bad_image(model_input.names, reply)
        answers = _picture_answers(served, model_input.names, reply, top)
    timing = {"queue": 0.0, "decode": 0.0, "inference": 0.0} | reply.timing_ms
    return {
        "model": served.model,
        "version": served.number,
        "engine": served.engine,
        "predictions": answers,
        "timing_ms": timing | {"total": round((time.perf_counter() - began) * 1000, 3)},
    }


def _picture_answers(served: Served, names: Sequence[str | int], reply: Reply, top: int | None) -> list[dict[str, Any]]:
    if not reply.outputs:
        return []
    good = [i for i in range(len(names)) if i not in reply.bad_images]
    rows = image_predictions(
        reply.outputs, served.signature, served.postprocessing, served.labels, top, pictures=len(good)
    )
    return [
        {"image": names[i], **row, **({"note": FIRST_OF_SEVERAL} if i in reply.first else {})}
        for i, row in zip(good, rows, strict=True)
    ]


def _bad_image(names: Sequence[str | int], reply: Reply) -> BadImage:
    index, sentence = min(reply.bad_images.items())
    name = names[index]
    return BadImage(
        sentence if len(names) == 1 else f"{'Picture' if isinstance(name, int) else ''} {name}: {sentence}".strip()
    )


# ---- for views


def predict_pictures(
    version: ModelVersion, instances: Sequence[Instance], pictures: Sequence[Picture], *, top: int | None = None
) -> dict[str, Any]:
    """PREDICTION for encoded pictures, one element each. Raises BadImage that names the first bad one."""
    began, served, model_input = time.perf_counter(), served_version(version, instances), as_input(pictures)
    return write_prediction(served, model_input, _ask_now(served, model_input), top, began)


def ask_pictures(
    version: ModelVersion, instances: Sequence[Instance], pictures: Sequence[Picture], *, top: int | None = None
) -> tuple[dict[str, Any], dict[int, str]]:
    """PREDICTION for those pictures that can be read, and the sentence for each that cannot."""
    began, served, model_input = time.perf_counter(), served_version(version, instances), as_input(pictures)
    reply = _ask_now(served, model_input, is_strict=False)
    return write_prediction(served, model_input, reply, top, began, is_strict=False), reply.bad_images


def predict_tensors(
    version: ModelVersion, instances: Sequence[Instance], body: Mapping[str, Any], *, top: int | None = None
) -> dict[str, Any]:
    """PREDICTION for `{"instances": …}` or `{"inputs": …}`: one element, with the batch axis."""
    began, served = time.perf_counter(), served_version(version, instances)
    model_input = read_tensors(served, body)
    return write_prediction(served, model_input, _ask_now(served, model_input), top, began)


def see_picture(version: ModelVersion, instances: Sequence[Instance], picture: bytes) -> Seen:
    """What the encoded picture looks like; the model's process opens it."""
    served = served_version(version, instances)
    seen: Seen = async_to_sync(runners.ask_seen)(served.paths, picture, timeout_s=served.timeout_s)
    return seen


def _ask_now(served: Served, model_input: ModelInput, *, is_strict: bool = True) -> Reply:
    reply: Reply = async_to_sync(runners.ask)(served, model_input, is_strict=is_strict)
    return reply
