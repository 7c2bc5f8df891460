"""JSON with the tokens NaN, Infinity and -Infinity, as TensorFlow Serving and Python's clients write and read them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

from inference.errors import ValidationFailed

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def read(text: bytes | memoryview) -> Any:
    """Raises ValidationFailed for what is no JSON. orjson first; Python's reader only for the tokens it refuses."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        plain = bytes(text)
        if b"NaN" in plain or b"Infinity" in plain:
            try:
                return json.loads(plain)
            except (ValueError, RecursionError):
                pass
        raise ValidationFailed(f"The body is not JSON: {error}.") from None


def read_object(text: bytes | memoryview) -> dict[str, Any]:
    value = read(text)
    if not isinstance(value, dict):
        raise ValidationFailed("The body is not a JSON object.")
    return value


def write(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=_OPTIONS)


def numbers(array: np.ndarray[Any, Any]) -> Any:
    """An array as `write` takes it: nested lists of numbers, those that are none as tokens."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return orjson.Fragment(json.dumps(array.tolist()).encode())
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _plain(value: Any) -> Any:
    """What orjson does not write itself: arrays without axes, numbers of half precision."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError
