"""V2's binary tensors: little endian, row major; an element of BYTES is its length (u32) and its bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.errors import TooLarge, ValidationFailed
from inference.protocols.datatypes import little_endian

Array = np.ndarray[Any, Any]
_LENGTH = struct.Struct("<I")


def read_numbers(data: memoryview, dtype: str, shape: Sequence[int], name: str) -> Array:
    """The tensor as a read-only view of `data`. Raises ValidationFailed where the sizes differ."""
    wanted = little_endian(dtype)
    size = math.prod(shape) * wanted.itemsize
    if size != len(data):
        raise ValidationFailed(f"The input {name} needs {size} bytes for its shape; binary_data_size is {len(data)}.")
    if dtype == "bool":
        return np.asarray(np.frombuffer(data, np.uint8).reshape(shape) != 0)
    return np.frombuffer(data, wanted).reshape(shape)


def read_bytes(data: memoryview, most: int, name: str) -> list[memoryview]:
    """The elements of a tensor of BYTES. Raises ValidationFailed for a damaged one, TooLarge for more than `most`."""
    elements: list[memoryview] = []
    at = 0
    while at < len(data):
        if len(data) - at < _LENGTH.size:
            raise ValidationFailed(f"The input {name} ends within the length of an element.")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > len(data) - at:
            raise ValidationFailed(f"An element of the input {name} is longer than what is left of the body.")
        if len(elements) >= most:
            raise TooLarge(f"Send at most {most} images at once.")
        elements.append(data[at : at + length])
        at += length
    return elements


def write_numbers(array: Array) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def write_bytes(elements: Sequence[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)
