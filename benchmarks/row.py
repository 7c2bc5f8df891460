"""One result (Row), and what a measurement gets to work with (Bench)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.running_portal import RunningPortal


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `failures` counts requests that were answered wrongly or not at all."""

    what: str
    measured: str
    aim: str = ""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Bench:
    """A running portal with the sample under several names, all checked; the first one is `digits`."""

    portal: RunningPortal
    names: Sequence[str]

    @property
    def first(self) -> str:
        return self.names[0]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 10**6:,.0f} MB"
