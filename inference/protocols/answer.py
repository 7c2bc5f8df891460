"""An answer of HTTP, and how both protocols say that something went wrong: {"error": text}."""

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


def json_answer(value: Any, status: int = 200) -> Answer:
    """`value` as JSON; numpy arrays in it are written as nested lists."""
    return Answer(status, json_text.write(value))


_STATUS = {409: 404, 422: 400}
"""What these protocols have no word for: a model that is not loaded is not found, bad input is an invalid argument."""


class Unsupported(PortalError):
    """The protocol knows it, this server does not do it."""

    code, status = "unsupported", 501


def error_answer(error: PortalError) -> Answer:
    """What is not loaded yet, and says when it will be, is unavailable: clients take a 404 for the last word."""
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
