"""How far an engine's answers are from the reference's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from inference.comparison.results import AGREES_BELOW, Answers, Array, Row, agrees

LEAST_SCALE = 2**-22 / AGREES_BELOW
"""Differences are divided by at least this, so that 2.4e-7 does not count. ONNX Runtime's logistic function is 1.1e-7
off near zero, a fifth of what it gives for -15: heat maps of empty pictures differed by 60 %."""
_NUMBERS = "fiub"
_BLOCK = 2**20
"""How many numbers are compared in one step."""
_MOST_ROWS = 64
"""An output with more rows is compared as one: its first axis may be no batch, and few batches are that large."""
_OTHERWISE_TOGETHER = "It answers several rows in one request otherwise than the reference."


def judge(row: Row, answers: Answers, reference: Answers) -> Row:
    """The row with its differences. An engine that agrees is also compared on two rows in one request: a file that
    takes one row a call would otherwise agree even where the model's answer to a row depends on the others."""
    row = with_differences(row, answers.alone, reference.alone)
    if not reference.together or not agrees(row):
        return row
    if agrees(with_differences(row, answers.together, reference.together)):
        return row
    return dataclasses.replace(row, error=_OTHERWISE_TOGETHER)


def with_differences(row: Row, outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> Row:
    """Outputs are matched by name, because their order differs between formats."""
    if missing := sorted(set(reference) - set(outputs)):
        return dataclasses.replace(row, error=f"The output {missing[0]} is missing.")
    largest, relative = 0.0, 0.0
    winners: list[float] = []
    for name, expected in reference.items():
        got = outputs[name]
        if got.shape != expected.shape:
            return dataclasses.replace(row, error=f"The output {name} has another shape than the reference's.")
        if expected.dtype.kind == "S" and not (got.dtype.kind == "S" and np.array_equal(got, expected)):
            return dataclasses.replace(row, error=f"The texts of the output {name} are others than the reference's.")
        if expected.dtype.kind not in _NUMBERS or not expected.size:
            continue
        if got.dtype.kind not in _NUMBERS:
            return dataclasses.replace(row, error=f"The output {name} holds no numbers, unlike the reference's.")
        absolute, share = _difference(got, expected)
        largest, relative = max(largest, absolute), max(relative, share)
        if expected.ndim == 2 and expected.shape[1] >= 2:
            winners.append(_same_winners(got, expected))
    error = (
        row.error if math.isfinite(largest) else "Some answers are no numbers (NaN) or infinite, unlike the reference."
    )
    winner = min(winners) if winners else None
    return dataclasses.replace(row, max_abs_diff=largest, max_rel_diff=relative, same_winner=winner, error=error)


def _same_winners(got: Array, expected: Array) -> float:
    """The share of examples, (N,classes), whose winner is the reference's or ties with it. A tie is decided by the last
    bits, and an untrained model gives little but ties."""
    winner, best = got.argmax(axis=1), expected.argmax(axis=1)
    rows = np.arange(len(expected))
    named, most = expected[rows, winner].astype(np.float64), expected[rows, best].astype(np.float64)
    scale = np.maximum(np.abs(np.nan_to_num(most)), LEAST_SCALE)
    is_tie = np.isfinite(most) & (named >= np.nan_to_num(most) - AGREES_BELOW * scale)
    return float(np.mean((winner == best) | is_tie))


def _difference(got: Array, expected: Array) -> tuple[float, float]:
    """Largest absolute difference, and largest relative to its example's largest value. Computed in blocks: each of
    several float64 copies of the whole would take eight times the memory of some outputs."""
    rows = len(expected) if expected.ndim and len(expected) <= _MOST_ROWS else 1
    apart, scale = np.zeros(rows), np.zeros(rows)
    step = _BLOCK // rows
    all_got, all_expected = got.reshape(rows, -1), expected.reshape(rows, -1)
    for at in range(0, all_expected.shape[1], step):
        a, b = (both[:, at : at + step].astype(np.float64) for both in (all_got, all_expected))
        is_special = ~np.isfinite(b)
        if not np.array_equal(a[is_special], b[is_special], equal_nan=True) or not np.isfinite(a[~is_special]).all():
            return math.inf, math.inf
        a[is_special] = b[is_special] = 0.0
        np.maximum(apart, np.abs(a - b).max(axis=1), out=apart)
        np.maximum(scale, np.abs(b).max(axis=1), out=scale)
    return float(apart.max()), float((apart / np.maximum(scale, LEAST_SCALE)).max())
