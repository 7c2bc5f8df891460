"""What a comparison finds out: a row for each engine, its answers, and the whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

AGREES_BELOW = 1e-3
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """The results of one engine. The relative difference is the largest difference in one example's output, divided by
    the largest value of the reference there: small scores beside a large one must not look like errors. `same_winner`
    is the share of examples with the same largest class, or one that ties with it; None where no output is (N, two or
    more). `device` is where the engine says that it ran."""

    engine: str
    precision: str
    max_abs_diff: float | None = None
    max_rel_diff: float | None = None
    same_winner: float | None = None
    load_seconds: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    best_batch: int | None = None
    per_second: float | None = None
    memory_bytes: int | None = None
    error: str = ""
    device: str = "cpu"

    def as_json(self) -> dict[str, Any]:
        """Infinite differences, which JSON cannot hold, become null; `error` says why."""
        values = dataclasses.asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs by name: `alone` of the examples, one call after the other; `together` of two rows in one request, empty
    where the model does not take two."""

    alone: Mapping[str, Array]
    together: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows, the reference first; `recommended` is an engine at f32, `reason` a sentence."""

    reference: str
    rows: tuple[Row, ...]
    recommended: str
    reason: str


def agrees(row: Row) -> bool:
    has_winner = row.same_winner is None or row.same_winner == 1.0
    return not row.error and row.max_rel_diff is not None and row.max_rel_diff < AGREES_BELOW and has_winner
