"""One measurement: some clients, some seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Window:
    """`requests` were answered rightly or wrongly within `seconds`; `failures` of these, and those never answered.
    `client_cpu_s` is what the load generator itself took."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        """Right answers."""
        return max(0, self.requests - self.failures) / self.seconds


class Contestant(Protocol):
    """Started and warm: it was asked everything once, and answered rightly."""

    @property
    def name(self) -> str: ...

    def measure(self, clients: int, seconds: float) -> Window: ...
