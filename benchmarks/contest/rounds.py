"""Measures all contestants in turn, in several rounds, and takes medians: a busy moment spoils one round of one."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.contest.window import Contestant, Window

MANY = 16
SHARE_OF_ONE_CLIENT = 0.3
"""The share of the window's seconds for one client: its median needs less time than a rate."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Set BENCH_WINDOW_S and BENCH_ROUNDS for a measurement that takes longer than the usual one."""

    window_s: float = field(default_factory=lambda: float(os.environ.get("BENCH_WINDOW_S", "5")))
    rounds: int = field(default_factory=lambda: int(os.environ.get("BENCH_ROUNDS", "3")))


@dataclass(frozen=True, slots=True)
class Result:
    """All windows of one contestant, with many clients and with one."""

    name: str
    many: Sequence[Window]
    one: Sequence[Window]

    @property
    def per_second(self) -> float:
        return statistics.median(window.per_second for window in self.many)

    @property
    def p99_ms(self) -> float:
        return statistics.median(window.p99_ms for window in self.many)

    @property
    def alone_ms(self) -> float:
        """The median time of one client."""
        return statistics.median(window.p50_ms for window in self.one)

    @property
    def cpu_ms(self) -> float:
        """Processor time of the server for one request, with many clients. Unlike the rates it hardly depends on other
        load on the machine."""
        return statistics.median(window.server_cpu_s / max(1, window.asked) * 1000 for window in self.many)

    @property
    def failures(self) -> int:
        return sum(window.failures for window in (*self.many, *self.one))

    @property
    def requests(self) -> int:
        return sum(window.requests for window in (*self.many, *self.one))

    @property
    def client_cpu_s(self) -> float:
        return sum(window.client_cpu_s for window in (*self.many, *self.one))


def measure(contestants: Sequence[Contestant], plan: Plan) -> list[Result]:
    """Results in the order of `contestants`; each round begins with another contestant."""
    many: dict[str, list[Window]] = {contestant.name: [] for contestant in contestants}
    one: dict[str, list[Window]] = {contestant.name: [] for contestant in contestants}
    for number in range(plan.rounds):
        start = number * len(contestants) // plan.rounds
        for contestant in (*contestants[start:], *contestants[:start]):
            many[contestant.name].append(contestant.measure(MANY, plan.window_s))
            one[contestant.name].append(contestant.measure(1, plan.window_s * SHARE_OF_ONE_CLIENT))
            window, alone = many[contestant.name][-1], one[contestant.name][-1]
            print(
                f"round {number + 1}, {contestant.name}: {window.per_second:.0f} a second, alone {alone.p50_ms:.2f} ms"
                f" ({window.failures + alone.failures} failures)",
                flush=True,
            )
    return [Result(name, many[name], one[name]) for name in many]
