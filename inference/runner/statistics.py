"""The statistics of a runner: sent to its owner once a second, and to whoever sends a frame of the kind `statistics`.

Only the event loop's thread writes here, so no lock is needed.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SPANS = ("queue", "decode", "inference", "total")
MOST_UNSORTED = 100
MOST_SIZES = 1024
"""Up to so many rows calls are counted by their number, larger ones with those up to the next power of two: clients
choose the sizes, and all of them have to fit into a frame."""


@dataclass(slots=True)
class Histogram:
    """Durations in seconds, each counted at the lowest bound that it does not exceed, else at the end."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def as_json(self) -> dict[str, Any]:
        return {"bounds": BOUNDS_S, "counts": self.counts, "sum": self.sum_s}


@dataclass(slots=True)
class Statistics:
    """Counters since the process began; `latencies_s` is of the last 512 answers, including refusals."""

    requests: int = 0
    errors: int = 0
    """Without those caused by the sender."""
    errors_by_code: Counter[str] = field(default_factory=Counter)
    fail_s: float = 0.0
    rows: int = 0
    calls: int = 0
    last_inference_ms: int = 0
    histograms: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in SPANS})
    batches: dict[int, list[float]] = field(default_factory=dict)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=512))
    _unsorted: list[tuple[float, float, float, float]] = field(default_factory=list)
    """The durations of answers since the last report, in the order of SPANS: sorting each at once takes longer."""

    def count_call(self, rows: int, seconds: float) -> None:
        """One call of the engine."""
        self.calls += 1
        self.rows += rows
        size = rows if rows <= MOST_SIZES else 1 << (rows - 1).bit_length()
        of_size = self.batches.setdefault(size, [0, 0.0])
        of_size[0] += 1
        of_size[1] += seconds

    def count_answer(self, *, queue_s: float, decode_s: float, inference_s: float, total_s: float) -> None:
        """A request that was answered, and where its time went."""
        self.last_inference_ms = time.time_ns() // 10**6
        self._unsorted.append((queue_s, decode_s, inference_s, total_s))
        if len(self._unsorted) >= MOST_UNSORTED:
            self._sort()

    def _sort(self) -> None:
        """Put the durations of answered requests into the histograms."""
        by_span = zip(*self._unsorted, strict=True)
        for name, durations in zip(SPANS, by_span, strict=False):  # there may be none
            histogram = self.histograms[name]
            for seconds in durations:
                histogram.add(seconds)
        self.latencies_s.extend(durations[-1] for durations in self._unsorted)
        self._unsorted.clear()

    def count_error(self, code: str, total_s: float, *, is_ours: bool) -> None:
        """A request that was refused or failed."""
        self.errors_by_code[code] += 1
        self.errors += is_ours
        self.fail_s += total_s
        self.latencies_s.append(total_s)

    def count_refused(self, requests: int, code: str) -> None:
        """Count requests that the web process refused on this runner's behalf, because its queue was full."""
        self.requests += requests
        self.errors_by_code[code] += requests

    def p95_ms(self) -> float | None:
        self._sort()
        if not self.latencies_s:
            return None
        ordered = sorted(self.latencies_s)
        return round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] * 1000, 3)

    def as_json(self, *, queue_depth: int, in_flight: int) -> dict[str, Any]:
        """Durations under `ns` are in nanoseconds, those in histograms in seconds."""
        self._sort()
        succeeded = sum(self.histograms["total"].counts)
        sums = {name: self.histograms[name].sum_s for name in ("queue", "decode", "inference")}
        ns = {name: {"count": succeeded, "ns": _ns(seconds)} for name, seconds in sums.items()}
        return {
            "requests": self.requests,
            "errors": dict(self.errors_by_code),
            "inference_count": self.rows,
            "execution_count": self.calls,
            "last_inference_ms": self.last_inference_ms,
            "ns": {
                "success": {"count": succeeded, "ns": _ns(self.histograms["total"].sum_s)},
                "fail": {"count": self.errors_by_code.total(), "ns": _ns(self.fail_s)},
                **ns,
            },
            "histograms": {name: histogram.as_json() for name, histogram in self.histograms.items()},
            "batches": {
                str(size): {"count": count, "ns": _ns(seconds)}
                for size, (count, seconds) in sorted(self.batches.items())
            },
            "queue_depth": queue_depth,
            "in_flight": in_flight,
        }


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
