"""Tests whether a model answers each row independently: only then may rows of several requests share a call.

A free first axis does not guarantee that. A model of pairs (each picture against each text), or one that computes over
the whole batch (`x - mean(x, axis=0)`, `x / max(x)`, BatchNorm as in training, dynamic quantisation), answers a row
differently beside other rows: clients would get numbers that depend on other clients' rows, or columns that belong to
them. No file says which it is, so it is tried: two rows of different mean, spread, minimum and maximum, first each
alone, then together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference import texts
from inference.engines import Engine

Array = np.ndarray[Any, Any]
Rows = Mapping[str, Array]

TOLERANCE = 0.02
"""Allowed difference relative to an output's largest value: rounding differs with the number of rows, in bf16 by up to
1 %. Statistics over two different rows change the values by a tenth or more."""

LEAST = 1e-6
"""Differences up to this do not count: near zero, a logistic function is 1.1e-7 off where a call has other rows."""

PIXEL = 255.0
"""Models that take unscaled pictures divide by this, so values up to 1 would make no difference to their BatchNorm."""
OUTLIER = 1000.0
"""How many times larger than another row's the values may be that some client sends: pixels that nobody scaled."""
TEXTS = (b"a", b"text of five other words")
"""A model that knows none of these words still sees different numbers of words. One that refuses unknown words cannot
be tested."""


def answers_rows_alone(engine: Engine, zeros: Rows, *, as_pixels: bool = True) -> bool:
    """Whether two rows together get the same answers as each alone. `zeros` holds two rows of the model's inputs.

    False if the model refuses the small test values, because then nothing is known. True if it answers the same row
    differently each time, or takes only one row per call (`tuning.py` finds that out): nothing is lost then. Unless
    `as_pixels`, values as large as pixels are not tried: a loop could take long, and rounding could change the answer.
    """
    pair = {name: _varied(array, 1.0) for name, array in zeros.items()}
    small = _answers_alone(engine, pair)
    if not small or not as_pixels or not any(array.dtype.kind == "f" for array in zeros.values()):
        return bool(small)
    pixels = _answers_alone(engine, {name: _varied(array, PIXEL) for name, array in zeros.items()})
    return pixels is not False and _bears_outliers(engine, pair)


def _answers_alone(engine: Engine, pair: Rows) -> bool | None:
    """None if the model refuses even single rows; real requests show why."""
    rows = [{name: array[i : i + 1] for name, array in pair.items()} for i in range(2)]
    try:
        alone = [engine.run(row) for row in rows]
    except Exception:
        return None
    try:
        together = engine.run(pair)
    except Exception:
        return True
    return _is_same(alone, together) or not _is_same([engine.run(rows[0])], alone[0])


def _bears_outliers(engine: Engine, pair: Rows) -> bool:
    """Whether the first row is answered as alone beside one of far larger values.

    ONNX' DynamicQuantizeLinear rounds all values of a call by one scale. Similar rows change it little, but beside such
    a row others become zeros: a classifier then gave .25 for each of its four classes, not .67, .04, .03 and .26.
    Keras' MelSpectrogram raises what is 80 dB below the loudest value of all rows: a quiet sound was up to 36 dB off.
    """
    row = {name: array[:1] for name, array in pair.items()}
    beside = {
        name: np.concatenate([array[:1], array[1:] * OUTLIER]).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in pair.items()
    }
    try:
        alone, together = engine.run(row), engine.run(beside)
        first = {name: array[:1] for name, array in together.items()}
        return _is_same([alone], first) or not _is_same([engine.run(row)], alone)
    except Exception:
        return True


def _varied(zeros: Array, largest: float) -> Array:
    """One row of low values close together and one of high values; integers are 0 and 1, which every vocabulary has."""
    shares = np.random.default_rng(1).random(zeros.shape[1:])
    if zeros.dtype.kind == "f" or zeros.dtype == np.uint8:
        largest = largest if zeros.dtype.kind == "f" else PIXEL
        return np.asarray(np.stack([0.2 * shares, 1 - 0.4 * shares]) * largest, zeros.dtype)
    if zeros.dtype.kind in "iub":
        few = shares < 0.25
        return np.asarray(np.stack([few, ~few]), zeros.dtype)
    if zeros.dtype.kind == "O":
        return np.stack([texts.filled(zeros.shape[1:], text) for text in TEXTS])
    return zeros


def _is_same(alone: list[dict[str, Array]], together: dict[str, Array]) -> bool:
    for name, found in together.items():
        parts = [answer[name] for answer in alone]
        if any(part.ndim == 0 or part.shape[0] != 1 or part.shape[1:] != found.shape[1:] for part in parts):
            return False
        if found.shape[:1] != (len(parts),) or not _is_close(np.concatenate(parts), found):
            return False
    return True


def _is_close(expected: Array, found: Array) -> bool:
    if expected.dtype.kind not in "fc":
        return bool(np.array_equal(expected, found))
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max(initial=0.0))
    return bool(np.allclose(expected, found, rtol=0.0, atol=max(TOLERANCE * largest, LEAST), equal_nan=True))
