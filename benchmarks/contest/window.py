"""One measurement: some clients, some seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Window:
    """`requests` were answered rightly or wrongly within `seconds`; `failures` of these, and those never answered.
    `client_cpu_s` is what the load generator took; `asked` counts what was answered outside of the window too."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    client_cpu_s: float
    asked: int = 0
    server_cpu_s: float = 0.0
    """Of all processes of the server, for all that was asked."""

    @property
    def per_second(self) -> float:
        """Right answers."""
        return max(0, self.requests - self.failures) / self.seconds


class Contestant(Protocol):
    """Started and warm: it was asked everything once, and answered rightly."""

    @property
    def name(self) -> str: ...

    def measure(self, clients: int, seconds: float) -> Window: ...
