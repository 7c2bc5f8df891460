"""V2's binary tensors: little endian, row major; BYTES are packed as in texts.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from inference import texts
from inference.errors import TooLarge, ValidationFailed
from inference.protocols.datatypes import little_endian
from inference.tensors import check_count

Array = np.ndarray[Any, Any]


def read_tensor(data: memoryview, dtype: str, shape: Sequence[int], name: str) -> Array:
    """The tensor of a request. Raises ValidationFailed if it is damaged or does not fit its shape, TooLarge."""
    if dtype != texts.DTYPE:
        return _read_numbers(data, dtype, shape, name)
    check_count(math.prod(shape), name)
    try:
        return texts.unpack(data, shape)
    except texts.Damaged as error:
        raise ValidationFailed(f"The input {name} {error}.") from None


def write_tensor(array: Array) -> bytes:
    if array.dtype.kind == "O":
        return texts.pack(array.flat)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _read_numbers(data: memoryview, dtype: str, shape: Sequence[int], name: str) -> Array:
    """The tensor as a view of `data`, a copy for bool. Raises ValidationFailed if the sizes differ."""
    wanted = little_endian(dtype)
    size = math.prod(shape) * wanted.itemsize
    if size != len(data):
        raise ValidationFailed(f"The input {name} needs {size} bytes for its shape; the request holds {len(data)}.")
    if dtype == "bool":
        return np.asarray(np.frombuffer(data, np.uint8).reshape(shape) != 0)
    return np.frombuffer(data, wanted).reshape(shape)


def read_pictures(data: memoryview, most: int, name: str) -> list[memoryview]:
    """The elements of a BYTES tensor. Raises ValidationFailed if it is damaged, TooLarge for more than `most`."""
    try:
        pictures = list(islice(texts.cut(data), most + 1))
    except texts.Damaged as error:
        raise ValidationFailed(f"The input {name} {error}.") from None
    if len(pictures) > most:
        raise TooLarge.of_pictures(most)
    return pictures
