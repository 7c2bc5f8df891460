"""Which engine serves a model best, by what was measured, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inference.catalog import ENGINES
from inference.comparison.results import Row, agrees
from inference.refusal import speed_words

AS_FAST = 0.8
"""An engine that reaches this share of the highest throughput counts as equally fast: on a shared machine, the same
engine differs by as much from run to run (MobileNetV2 in OpenVINO: 315 to 417 a second)."""
REQUEST_S = 2e-4
"""Time that a request takes besides the model: reading, checking and answering it (README.md, the 8×8 digits). An
engine that computes a tiny model in 9 µs serves no more requests than one that takes 23 µs."""
OF_MANY_ROWS = 1 / 3
"""But requests of many examples show the difference: below this share of the highest throughput none is as fast."""


def recommend(rows: Sequence[Row]) -> tuple[str, str]:
    """The engine for `auto` and why. The first row is the reference.

    The fastest at f32 whose relative difference is below 1e-3 and that has the same winner on all examples; the
    reference where there is none. Of those that serve requests of one example equally fast, the one with the lowest
    latency; where that is equal too, one that computes several calls at the same time: there no request waits for
    another one's batch. An engine that was measured on a GPU is loaded there, so its results on the CPU do not count.
    """
    reference = rows[0]
    on_gpu = {row.engine for row in rows if row.device != "cpu"}
    loadable = [row for row in rows if row.device != "cpu" or row.engine not in on_gpu]
    able = [row for row in loadable if row.precision == "f32" and row.per_second and not row.error]
    agreeing = [row for row in able if row is reference or agrees(row)]
    if not agreeing:
        return (
            reference.engine,
            f"{reference.engine} made the file and could not be measured, so that no other can be compared.",
        )
    fastest = _as_fast_as_the_fastest(agreeing)
    soonest_ms = min(row.p50_ms or math.inf for row in fastest)
    soon = [row for row in fastest if AS_FAST * (row.p50_ms or math.inf) <= soonest_ms]
    best = min(soon, key=lambda row: (not ENGINES[row.engine].is_parallel, row.p50_ms or math.inf))
    as_fast = _joined([row.engine for row in fastest if row.engine != best.engine])
    if best.engine != reference.engine:
        has_equals = len(soon) > 1 and ENGINES[best.engine].is_parallel
        return best.engine, _why(best, reference, as_fast, has_equals=has_equals)
    if as_fast:
        merit = f"Of the fastest, {_named(best)} answers a single example soonest."
        return best.engine, f"{merit} As a service {as_fast} would be as fast."
    return best.engine, _why_the_reference(best, rows)


def _as_fast_as_the_fastest(rows: Sequence[Row]) -> list[Row]:
    """The engines that serve as many requests as the fastest, and are not much slower with many rows."""
    seconds = {row: 1 / row.per_second for row in rows if row.per_second}
    least = min(seconds.values())
    return [
        row
        for row, example_s in seconds.items()
        if AS_FAST * (REQUEST_S + example_s) <= REQUEST_S + least and OF_MANY_ROWS * example_s <= least
    ]


def _why_the_reference(best: Row, rows: Sequence[Row]) -> str:
    others = [row for row in rows if row.engine != best.engine and row.precision == "f32"]
    if any(agrees(row) for row in others):
        return f"{_named(best)} is the fastest."
    verb = "agrees" if any(row.per_second for row in others) else "can run it"
    return f"{_named(best)} made the file, and no other engine {verb}."


def _named(row: Row) -> str:
    return row.engine if row.device == "cpu" else f"{row.engine} on {row.device}"


def _why(best: Row, reference: Row, as_fast: str, *, has_equals: bool) -> str:
    """`as_fast` are the other engines that serve requests as fast; `has_equals`: one of them answers as soon too."""
    per_second = best.per_second or 0.0
    speed = f"{speed_words(per_second)} examples a second"
    if reference.per_second:
        speed += f", {per_second / reference.per_second:.1f} times {reference.engine}"
    if not as_fast:
        return f"{best.engine} is the fastest whose answers agree ({speed})."
    merit = (
        "and computes requests side by side" if has_equals else "and, of the fastest, answers a single example soonest"
    )
    return f"{best.engine} agrees {merit} ({speed}). As a service {as_fast} would be as fast."


def _joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
