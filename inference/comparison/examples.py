"""Seeded examples to compare engines on where there are no real ones, as realistic as the signature allows.

White noise alone proves little for a model of pictures. MobileNetV2 gave the same class for all of it, with a
probability of 1.0; rounding its weights to 10 bits then made a difference of 1e-6, but of 0.2 on photographs. So most
pictures have large shapes and small ones, as photographs do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from inference import texts
from inference.errors import TooLarge
from inference.refusal import size_words
from inference.signature import ImageAxes, Signature, TensorSpec, image_axes

Array = np.ndarray[Any, Any]

MAX_BYTES = 2**28
_SEED = 1
_FREE_PICTURE = 224
_WORDS = np.array([b"this", b"is a text", b"and another one", b"", b"42", b"caf\xc3\xa9"])
_SCALES = ((3, 0.27), (9, 0.18), (40, 0.10), (150, 0.04))
"""(Cells across a picture, the most by which they change a value.)"""
_WHITE_NOISE_EVERY = 4
_WIDE = ((2**31, 2**32), (2**32, 2**40))
_WIDE_BY_DTYPE = {"uint32": _WIDE[:1], "int64": _WIDE, "uint64": _WIDE, "float64": _WIDE}
"""Dtype → ranges of numbers that it can hold, but int32 or float32 cannot."""


def make_examples(
    signature: Signature,
    *,
    count: int = 8,
    value_range: tuple[float, float] = (0.0, 1.0),
    free: int = 32,
) -> dict[str, Array]:
    """Values for each input: pictures and floats in `value_range` (that of preprocessed pixels), indices of the
    vocabulary where its size is known, else small integers; words for texts. A size that the file leaves free becomes
    `free`, for pictures 224. `count` examples, fewer where they are large; a batch that the file fixes above one stays.
    Raises TooLarge where one example exceeds MAX_BYTES."""
    one_bytes = sum(math.prod(_shape(spec, 1, free)) * _dtype(spec).itemsize for spec in signature.inputs)
    if one_bytes > MAX_BYTES:
        raise TooLarge(
            f"One example of the model's inputs takes {size_words(one_bytes)}, and at most "
            f"{size_words(MAX_BYTES)} are measured with. Choose an engine by hand, or export the model with "
            "smaller inputs."
        )
    rows = min(count, MAX_BYTES // max(1, one_bytes))
    generator = np.random.default_rng(_SEED)
    return {spec.name: _values(generator, spec, _shape(spec, rows, free), value_range) for spec in signature.inputs}


def widened(examples: Mapping[str, Array], signature: Signature) -> dict[str, Array] | None:
    """The examples with numbers beyond 32 bits in the last rows of inputs whose dtype can hold them; None without such.

    No file says whether they are valid for its model: as indices of a table's rows they are not.
    """
    generator = np.random.default_rng(_SEED)
    wide = {
        spec.name: _widened(generator, examples[spec.name], _WIDE_BY_DTYPE[spec.dtype])
        for spec in signature.inputs
        if spec.dtype in _WIDE_BY_DTYPE and spec.shape and spec.below is None and image_axes(spec) is None
    }
    return {**examples, **wide} if wide else None


def of_few_numbers(examples: Mapping[str, Array], signature: Signature) -> dict[str, Array] | None:
    """The examples with whole numbers of 0 and 1 alone, as an attention mask or the type of a word is; None without
    whole numbers. A table of two rows takes no others, and only Keras' files tell how many it has."""
    few = {
        spec.name: examples[spec.name] % 2
        for spec in signature.inputs
        if examples[spec.name].dtype.kind in "iu" and spec.shape and spec.below is None and image_axes(spec) is None
    }
    return {**examples, **few} if few else None


def _widened(generator: np.random.Generator, array: Array, ranges: Sequence[tuple[int, int]]) -> Array:
    made = array.copy()
    for back, (low, high) in zip(range(len(made)), ranges, strict=False):
        made[-1 - back, ...] = generator.uniform(low, high, made.shape[1:])
    return made


def _shape(spec: TensorSpec, rows: int, free: int) -> list[int]:
    if image_axes(spec) is not None:
        free = _FREE_PICTURE
    batch = spec.shape[0] if spec.shape else None
    first = rows if batch in (None, 1) else batch
    return [first, *(free if n is None else n for n in spec.shape[1:])] if spec.shape else []


def _dtype(spec: TensorSpec) -> np.dtype[Any]:
    return _WORDS.dtype if spec.dtype == texts.DTYPE else np.dtype(spec.dtype)


def _values(
    generator: np.random.Generator, spec: TensorSpec, shape: list[int], value_range: tuple[float, float]
) -> Array:
    dtype, axes = _dtype(spec), image_axes(spec)
    if dtype.kind == "S":
        return generator.choice(_WORDS, shape)
    if axes is not None and (dtype.kind == "f" or dtype == np.uint8):
        return _pictures(generator, shape, axes, (0.0, 255.0) if dtype == np.uint8 else value_range).astype(dtype)
    if spec.below is not None:
        has_room = spec.below if dtype.kind == "f" else min(spec.below, np.iinfo(dtype).max)
        return generator.integers(0, has_room, shape).astype(dtype)
    if dtype.kind == "f":
        drawn = generator.random(shape) if dtype == np.float64 else generator.random(shape, np.float32)
        return _spread(drawn, value_range).astype(dtype, copy=False)
    top = 2 if dtype.kind == "b" else 256 if spec.dtype == "uint8" else 10
    return generator.integers(0, top, shape, dtype)


def _pictures(
    generator: np.random.Generator, shape: list[int], axes: ImageAxes, value_range: tuple[float, float]
) -> Array:
    """(N,H,W,C) or (N,C,H,W) float32; every fourth is white noise."""
    made = np.empty(shape, np.float32)
    planes = made if axes.layout == "nchw" else made.transpose(0, 3, 1, 2)
    for number, picture in enumerate(planes):
        for plane in picture:
            is_noise = number % _WHITE_NOISE_EVERY == _WHITE_NOISE_EVERY - 1
            plane[...] = generator.random(plane.shape, np.float32) if is_noise else _plane(generator, *plane.shape)
    return _spread(made, value_range)


def _plane(generator: np.random.Generator, height: int, width: int) -> Array:
    """One channel of a picture, (H,W) float32 from 0 to 1: noise of several sizes on a random brightness."""
    plane = np.full((height, width), generator.uniform(0.3, 0.7), np.float32)
    for cells, weight in _SCALES:
        cell = generator.uniform(-weight, weight, (min(cells, height), min(cells, width))).astype(np.float32)
        plane += np.asarray(Image.fromarray(cell).resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(plane, 0.0, 1.0, out=plane)


def _spread(values: Array, value_range: tuple[float, float]) -> Array:
    """From 0 … 1 to the range, in place."""
    low, high = value_range
    values *= np.float32(high - low)
    values += np.float32(low)
    return values
