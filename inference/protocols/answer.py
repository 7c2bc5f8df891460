"""An HTTP response, and the error response of both protocols: {"error": text}."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.errors import NotLoaded, PortalError, Unavailable
from inference.protocols import json_text

JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(value: Any) -> Answer:
    """`value` as JSON; numpy arrays in it are written as nested lists."""
    return Answer(200, json_text.write(value))


_STATUS = {409: 404, 422: 400}
"""Statuses that these protocols lack: a model that is not loaded counts as not found, bad input as a bad request."""


class Unsupported(PortalError):
    """A feature of the protocol that this server does not offer."""

    code, status = "unsupported", 501


def error_answer(error: PortalError) -> Answer:
    """The response for an error. NotLoaded with a `retry_after_s` becomes 503, because clients take a 404 as final."""
    status = _STATUS.get(error.status, error.status)
    if isinstance(error, NotLoaded) and error.retry_after_s is not None:
        status = Unavailable.status
    text = error.message
    for name, sentences in error.fields.items():
        if text not in sentences:
            text += f" {name}: {' '.join(sentences)}"
    body = json_text.write({"error": text or "The request failed."})
    return Answer(status, body, headers=encoded(error.headers))


def encoded(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Headers as ASGI has them."""
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
