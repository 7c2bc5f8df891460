"""JSON with the tokens NaN, Infinity and -Infinity, as TensorFlow Serving and Python's clients write and read them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

from inference import texts
from inference.errors import ValidationFailed

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def read(text: bytes | memoryview, what: str = "The body") -> Any:
    """Raises ValidationFailed where `what` is read is no JSON. orjson first; Python's reader only for the tokens it
    refuses."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason: Exception = error
    plain = bytes(text)
    if b"NaN" in plain or b"Infinity" in plain:
        try:
            return _read_with_tokens(plain)
        except (ValueError, RecursionError) as error:
            reason = error
    raise ValidationFailed(f"{what} is not JSON: {reason}.") from None


def _read_with_tokens(text: bytes) -> Any:
    """Python's reader takes more than the tokens: halves of a surrogate pair, integers without end. What orjson refuses
    with a 0 in place of each token is refused; a 0 within a text changes its letters only."""
    orjson.loads(text.replace(b"NaN", b"0  ").replace(b"Infinity", b"0       "))
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    """As orjson has it: beyond 64 bits a float."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def read_object(text: bytes | memoryview, what: str = "The body") -> dict[str, Any]:
    value = read(text, what)
    if not isinstance(value, dict):
        raise ValidationFailed(f"{what} is not a JSON object.")
    return value


def write(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=_OPTIONS)


def numbers(array: np.ndarray[Any, Any]) -> Any:
    """An array as `write` takes it: nested lists of numbers, those that are none as tokens; of texts as UTF-8."""
    if array.dtype.kind == "O":
        return texts.as_lists(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return orjson.Fragment(json.dumps(array.tolist()).encode())
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _plain(value: Any) -> Any:
    """What orjson does not write itself: arrays without axes, numbers of half precision."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError
