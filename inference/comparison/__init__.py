"""Compares engines on one model: agreement of the answers, speed and memory, each in a fresh process.

One at a time, because two measured at the same time would slow each other down.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from inference.comparison.differences import judge
from inference.comparison.measurement import BRIEF, Candidate, Effort, measure
from inference.comparison.recommendation import recommend
from inference.comparison.results import Answers, Array, Comparison, Row
from inference.limited_child import Progress
from inference.workspace import Workspace


def compare(
    candidates: Sequence[Candidate],
    examples: Iterable[Mapping[str, Array]],
    workspace: Workspace,
    *,
    progress: Progress,
    sandbox: str,
    effort: Effort = BRIEF,
) -> Comparison:
    """Measure each candidate; the first is the reference. All get the first of the `examples` that the reference
    answers with numbers (see `_first_answered`); examples have its names and dtypes, batch first.

    An engine that fails has a row with an error; nothing is raised. One that does not use the GPU it was given, and was
    measured on the CPU already, has no second row. The workspace is removed at the end. `sandbox` is the value of
    PORTAL_SANDBOX.
    """
    rows: list[Row] = []
    reference: Answers | None = None
    ask = functools.partial(measure, workspace=workspace, sandbox=sandbox, effort=effort, progress=progress)
    try:
        for i, candidate in enumerate(candidates):
            where = f" on {candidate.gpu.id}" if candidate.gpu else ""
            stage = 5 + 90 * i // len(candidates), f"Measuring {candidate.engine} at {candidate.precision}{where}."
            examples, row, answers = _first_answered(functools.partial(ask, candidate, stage=stage), examples)
            if candidate.gpu and row.device == "cpu" and any(known.engine == row.engine for known in rows):
                continue  # it does not use the GPU: the same was measured before
            if i == 0:
                reference = answers
            if answers is not None and reference is not None:
                row = judge(row, answers, reference)
            rows.append(row)
    finally:
        workspace.remove()
    engine, sentence = recommend(rows)
    return Comparison(candidates[0].engine, tuple(rows), engine, sentence)


def _first_answered(
    ask: Callable[[Mapping[str, Array]], tuple[Row, Answers | None]], examples: Iterable[Mapping[str, Array]]
) -> tuple[Sequence[Mapping[str, Array]], Row, Answers | None]:
    """The first examples that are answered with finite numbers, or the second with any output; else the last that are
    answered at all, or the last. Returned as a list of one, with the row and the answers."""
    tried: list[tuple[Sequence[Mapping[str, Array]], Row, Answers | None]] = []
    answered = []
    for given in examples:
        row, answers = ask(given)
        tried.append(([given], row, answers))
        if answers is not None and all(array.size for array in answers.alone.values()):
            answered.append(tried[-1])
            if len(answered) == 2 or _are_numbers(answers):
                return tried[-1]
    return next((one for one in reversed(answered or tried) if one[2] is not None), tried[-1])


def _are_numbers(answers: Answers) -> bool:
    return all(np.isfinite(array).all() for array in answers.alone.values() if array.dtype.kind == "f")
