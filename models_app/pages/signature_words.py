"""A signature in words: `any number × 224 high × 224 wide × 3 colours, RGB` → `any number × 12 scores, one a label`."""

from __future__ import annotations

from dataclasses import dataclass

from inference.preprocessing import COLOR_OF_CHANNELS, Preprocessing
from inference.signature import ImageAxes, TensorSpec, image_axes
from models_app.pages.words import count_words

_COLORS = {"gray": "grey", "rgb": "3 colours, RGB", "bgr": "3 colours, BGR", "rgba": "4 channels, RGBA"}


@dataclass(frozen=True, slots=True)
class Word:
    """One axis; a free one may have any length."""

    text: str
    is_free: bool


@dataclass(frozen=True, slots=True)
class TensorWords:
    name: str
    values: str
    words: tuple[Word, ...]


def input_words(spec: TensorSpec, preprocessing: Preprocessing) -> TensorWords:
    axes = image_axes(spec)
    rest = _plain(spec) if axes is None else _picture(axes, preprocessing)
    return TensorWords(spec.name, spec.values, (*_batch(spec), *rest))


def output_words(spec: TensorSpec, label_count: int) -> TensorWords:
    """`label_count` is the number of labels of the version."""
    if len(spec.shape) == 2 and spec.shape[1] is not None:
        count = spec.shape[1]
        text = "1 score" if count == 1 else f"{count_words(count)} scores"
        if label_count == count:
            text += ", one a label"
        return TensorWords(spec.name, spec.dtype, (*_batch(spec), Word(text, False)))
    return TensorWords(spec.name, spec.dtype, (*_batch(spec), *_plain(spec)))


def _batch(spec: TensorSpec) -> tuple[Word, ...]:
    if not spec.shape:
        return (Word("one value", False),)
    length = spec.shape[0]
    return (Word("any number", True) if length is None else Word(f"{count_words(length)} at once", False),)


def _plain(spec: TensorSpec) -> tuple[Word, ...]:
    return tuple(Word("?" if n is None else count_words(n), n is None) for n in spec.shape[1:])


def _picture(axes: ImageAxes, preprocessing: Preprocessing) -> tuple[Word, ...]:
    color = preprocessing.resolved().color or COLOR_OF_CHANNELS[axes.channels]
    size = [
        Word(f"any {noun}" if length is None else f"{count_words(length)} {word}", length is None)
        for length, noun, word in ((axes.height, "height", "high"), (axes.width, "width", "wide"))
    ]
    channels = Word(_COLORS[color], False)
    return (*size, channels) if axes.layout == "nhwc" else (channels, *size)
