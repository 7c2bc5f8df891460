"""The inputs and outputs of a model: names, dtypes, shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from inference import texts
from inference.json_object import is_integer, is_text

Shape = tuple[int | None, ...]
Layout = Literal["nhwc", "nchw"]

CHANNEL_COUNTS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `shape` includes the batch axis; None is a free dimension. `dtype` is numpy's name, "string"
    for texts. `below` is the vocabulary size of an input that takes indices into a vocabulary, else None."""

    name: str
    dtype: str
    shape: Shape
    below: int | None = None

    @property
    def values(self) -> str:
        """For people: `float32`, or `int32 from 0 to 99`."""
        return self.dtype if self.below is None else f"{self.dtype} from 0 to {self.below - 1:,}"

    def as_json(self) -> dict[str, Any]:
        """`below` is left out if it is None."""
        said = {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        return said if self.below is None else {**said, "below": self.below}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TensorSpec:
        """Raises ValueError, KeyError or TypeError for an invalid description: it may come from a file."""
        name, dtype, shape, below = value["name"], value["dtype"], value["shape"], value.get("below")
        is_described = is_text(name) and is_text(dtype) and isinstance(shape, list | tuple)
        if not (is_described and all(map(_is_size, shape)) and _is_size(below) and below != 0):
            raise ValueError("a tensor that makes no sense")
        return cls(name, texts.DTYPE if dtype == "object" else dtype, tuple(shape), below)  # "object": the old name


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model, in its own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def as_json(self) -> dict[str, Any]:
        return {"inputs": [t.as_json() for t in self.inputs], "outputs": [t.as_json() for t in self.outputs]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signature:
        return cls(
            tuple(TensorSpec.from_json(t) for t in value["inputs"]),
            tuple(TensorSpec.from_json(t) for t in value["outputs"]),
        )


def with_vocabularies(signature: Signature, known: Signature) -> Signature:
    """The signature with each input's `below` taken from `known` if given there: only Keras formats store it."""
    below = {spec.name: spec.below for spec in known.inputs}
    inputs = tuple(replace(spec, below=below.get(spec.name) or spec.below) for spec in signature.inputs)
    return replace(signature, inputs=inputs)


def _is_size(size: object) -> bool:
    return size is None or is_integer(size, 0, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class ImageAxes:
    """How an input of four dimensions holds pictures. A height or width of None is free."""

    layout: Layout
    height: int | None
    width: int | None
    channels: int


def image_axes(spec: TensorSpec) -> ImageAxes | None:
    """The picture axes of an input (N,H,W,C) or (N,C,H,W), or None if it takes no pictures.

    If both fit, channels last is chosen, the default of Keras and TensorFlow.
    """
    if len(spec.shape) != 4 or spec.dtype == texts.DTYPE:
        return None
    _, a, b, c = spec.shape
    if c in CHANNEL_COUNTS:
        return ImageAxes("nhwc", a, b, c)
    if a in CHANNEL_COUNTS:
        return ImageAxes("nchw", b, c, a)
    return None
