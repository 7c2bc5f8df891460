"""One measurement: some clients, some seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Window:
    """`requests` were answered within `seconds`, or never; `failures` of these were answered wrongly, or never.
    `client_cpu_s` is the load generator's processor time; `asked` counts answers outside of the window too."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    client_cpu_s: float
    asked: int = 0
    server_cpu_s: float = 0.0
    """Of all processes of the server, for all requests."""

    @property
    def per_second(self) -> float:
        """Right answers a second."""
        return max(0, self.requests - self.failures) / self.seconds


class Contestant(Protocol):
    """A server or loop that is started and warm: it has answered all requests once, and rightly."""

    @property
    def name(self) -> str: ...

    def measure(self, clients: int, seconds: float) -> Window: ...
