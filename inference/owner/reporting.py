"""What an owner reports about its runner. The registry implements Reporter, so that the owner needs no ORM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inference.host.processes import ProcessIdentity


@dataclass(frozen=True, slots=True)
class Ready:
    """What a runner reported when it was ready, and what its owner measured."""

    runner: ProcessIdentity
    socket: Path
    device: str
    engine: str
    precision: str
    sandbox: str
    load_seconds: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """Figures of a loaded model. Counters are of this process; p95 in milliseconds."""

    requests: int = 0
    errors: int = 0
    queue: int = 0
    in_flight: int = 0
    p95_ms: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of an unload."""

    pids: tuple[int, ...] = ()
    seconds: float = 0.0
    memory_freed_bytes: int = 0
    drained_requests: int = 0
    failed_requests: int = 0


class Reporter(Protocol):
    """Implemented by the registry. A bool result says whether this owner is still to keep the instance."""

    def is_wanted(self) -> bool: ...
    def loading(self, runner: ProcessIdentity, attempt: int) -> bool: ...
    def ready(self, facts: Ready) -> bool: ...
    def alive(self, vitals: Vitals) -> None: ...
    def restarting(self, reason: str) -> bool: ...
    def failed(self, reason: str) -> None: ...
    def stopped(self, receipt: Receipt) -> None: ...
    def interrupted(self) -> None: ...
