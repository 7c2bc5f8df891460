"""JSON with the tokens NaN, Infinity and -Infinity, which TensorFlow Serving and Python clients read and write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

from inference import texts
from inference.errors import ValidationFailed

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def read(text: bytes | memoryview, what: str = "The body") -> Any:
    """Parse with orjson, or with Python's parser for the tokens that orjson refuses. Raises ValidationFailed; `what`
    is in its message."""
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
    """Python's parser accepts more than the tokens: lone surrogates, integers of any length. So orjson first checks the
    text with each token replaced by 0; inside a string this changes letters only."""
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
    """An array in a form for `write`: nested lists of numbers, with tokens for NaN and infinities, or of strings."""
    if array.dtype.kind == "O":
        return texts.as_lists(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return orjson.Fragment(json.dumps(array.tolist()).encode())
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _plain(value: Any) -> Any:
    """Convert what orjson cannot write: arrays without axes, half-precision numbers."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError
