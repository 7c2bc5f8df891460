"""Tensors of texts: numpy object arrays, where each object is the bytes of one text (UTF-8, or what the model reads).

In packed form each text is its length (u32, little endian) and its bytes, like BYTES in V2; the runner's socket uses
the same form.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
DTYPE = "string"
"""The dtype of texts in signatures; numpy has no name for texts of any length."""
MOST_TEXTS = 100_000
"""In one tensor: each is a Python object, on both sides."""
Packed = TypeVar("Packed", bytes, memoryview)
_LENGTH = struct.Struct("<I")


class Damaged(ValueError):
    """The packed texts are invalid. The message is to follow the tensor's name in a sentence."""


def pack(texts: Iterable[bytes | memoryview]) -> bytes:
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))


def cut(data: Packed) -> Iterator[Packed]:
    """The texts in packed data, as slices of its type. Raises Damaged at the first invalid one."""
    at, end, read_length = 0, len(data), _LENGTH.unpack_from
    while at < end:
        if end - at < _LENGTH.size:
            raise Damaged("ends within the length of an element")
        (length,) = read_length(data, at)
        at += _LENGTH.size
        if length > end - at:
            raise Damaged("has an element that is longer than what is left")
        yield data[at : at + length]
        at += length


def unpack(data: memoryview, shape: Sequence[int]) -> Array:
    """The tensor. Raises Damaged if shape and number of texts differ, or for more than MOST_TEXTS."""
    count = math.prod(shape)
    if not 0 <= count <= MOST_TEXTS:
        raise Damaged(f"has more than {MOST_TEXTS:,} texts")
    found = list(islice(cut(bytes(data)), count + 1))  # slicing bytes takes a third of the time of slicing a view
    if len(found) != count:
        more = "more than " if len(found) > count else ""
        raise Damaged(f"holds {more}{min(len(found), count)} texts, its shape says {count}")
    array = np.empty(count, object)
    array[:] = found
    return array.reshape(list(shape))


def filled(shape: Sequence[int], text: bytes) -> Array:
    array = np.empty(list(shape), object)
    array.fill(text)
    return array


def from_json(value: Any) -> bytes:
    """One text of a request: a JSON text, or bytes as `{"b64": …}`. Raises ValueError for all else."""
    if isinstance(value, str):
        return value.encode()  # ValueError for a lone surrogate
    if is_encoded(value) and isinstance(value["b64"], str):
        return from_base64(value["b64"])
    raise ValueError("no text")


def from_base64(text: str) -> bytes:
    """Standard base64 (RFC 4648). White space is passed over, and the padding may be missing, but not be wrong: so
    TensorFlow Serving takes it (abseil, escaping.h). Raises ValueError."""
    plain = "".join(text.split())
    missing = -len(plain) % 4
    if missing and plain.endswith("="):
        raise ValueError("wrong padding")
    return base64.b64decode(plain + "=" * missing, validate=True)


def is_encoded(value: Any) -> bool:
    """Whether a value of a request is TensorFlow Serving's form of bytes."""
    return isinstance(value, dict) and set(value) == {"b64"}


def as_lists(array: Array) -> Any:
    """Nested lists of strings, or one string; invalid UTF-8 is replaced."""
    return _read(array.tolist())


def as_base64(array: Array) -> Any:
    """Nested lists of `{"b64": …}`."""
    return _encoded(array.tolist())


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    return value.decode("utf-8", "replace")


def _encoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    return {"b64": base64.b64encode(value).decode()}
