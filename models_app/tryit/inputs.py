"""What a model wants to be asked with: pictures, and how they are prepared, or tensors, and what they look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from inference import texts
from inference.preprocessing import ImagePlan, shown
from inference.signature import TensorSpec
from models_app.models import ModelVersion
from models_app.pages import signature_words

_COLOURS = {"gray": "grey", "rgb": "RGB", "bgr": "BGR", "rgba": "RGBA"}
_MOST_NUMBERS = 64
_EXAMPLES: dict[str, str | bool] = {texts.DTYPE: "a text", "bool": False}


def takes_pictures(version: ModelVersion) -> bool:
    """True also before the check."""
    return version.takes_pictures or not version.signature.inputs


def takes_texts(version: ModelVersion) -> bool:
    """Whether an example is one text, so that people can write it as such."""
    inputs = version.signature.inputs
    if len(inputs) != 1 or inputs[0].dtype != texts.DTYPE:
        return False
    return bool(inputs[0].shape) and all(size in (None, 1) for size in inputs[0].shape[1:])


def rows_of_texts(version: ModelVersion, lines: Sequence[str]) -> list[Any]:
    """The row form of texts, one an example."""
    return [_nested(version.signature.inputs[0], line) for line in lines]


def input_words(version: ModelVersion) -> str:
    """`8 × 8, grey, inverted`, `fitted into 224 × 224, RGB`, `texts`, `any number × 4, float32`; of pictures that
    cannot be prepared, what the version's page says. Empty before the check."""
    if takes_texts(version):
        return "texts"
    plan = version.image_plan
    if plan is not None:
        way = {"stretch": "", "fit": "fitted into ", "crop": "cut to "}[plan.resize]
        low, high = _range(plan)
        is_inverted = not plan.per_image_standardize and low > high
        return f"{way}{_size(plan)}, {_COLOURS[plan.color]}" + (", inverted" if is_inverted else "")
    if takes_pictures(version):
        words = (signature_words.input_words(spec, version.preprocessing) for spec in version.signature.inputs)
        return "; ".join(" × ".join(word.text for word in spec.words) for spec in words)
    return "; ".join(f"{_dimensions(spec.shape) or 'one value'}, {spec.values}" for spec in version.signature.inputs)


def seen_words(plan: ImagePlan) -> str:
    """The picture as the model gets it, in words: `8 × 8, grey, 0 to 1`."""
    if plan.per_image_standardize:
        values = "standardized"
    else:
        low, high = sorted(_range(plan))
        values = f"{shown(low, 3)} to {shown(high, 3)}"
    return f"{_size(plan)}, {_COLOURS[plan.color]}, {values}"


def example_words(version: ModelVersion) -> str:
    """One example of the row form, in words: `a list of 4 values, float32`, `an object of photo (…), facts (…)`."""
    inputs = version.signature.inputs
    if len(inputs) == 1:
        return _value_words(inputs[0])
    return f"an object of {', '.join(f'{spec.name} ({_value_words(spec)})' for spec in inputs)}"


def _value_words(spec: TensorSpec) -> str:
    size = _dimensions(spec.shape[1:])
    return f"{f'a list of {size} values' if size else 'one value'}, {spec.values}"


def is_small(version: ModelVersion) -> bool:
    """Whether an example is short enough to be written out."""
    return all(math.prod(example_shape(spec)) <= _MOST_NUMBERS for spec in version.signature.inputs)


def example_shape(spec: TensorSpec) -> list[int]:
    """The shape of one value of the row form: no batch axis, free axes as 1."""
    return [size or 1 for size in spec.shape[1:]]


def example_rows(version: ModelVersion) -> list[Any]:
    """The row form of one small example: zeros, or a text."""
    inputs = version.signature.inputs
    if len(inputs) == 1:
        return [_nested(inputs[0], zero(inputs[0]))]
    return [{spec.name: _nested(spec, zero(spec)) for spec in inputs}]


def zero(spec: TensorSpec) -> str | bool | int:
    return _EXAMPLES.get(spec.dtype, 0)


def _nested(spec: TensorSpec, value: Any) -> Any:
    """An example filled with `value`."""
    for size in reversed(example_shape(spec)):
        value = [value] * size
    return value


def _size(plan: ImagePlan) -> str:
    if plan.height == plan.width:
        return f"{plan.height} × {plan.width}"
    return f"{plan.height} high × {plan.width} wide"


def _range(plan: ImagePlan) -> tuple[float, float]:
    """The least and the largest value of a pixel in all channels; in reverse order where white is below black."""
    black, white = plan.black_and_white
    return (min(black), max(white)) if sum(white) >= sum(black) else (max(black), min(white))


def _dimensions(shape: Sequence[int | None]) -> str:
    return " × ".join("any number" if size is None else str(size) for size in shape)
