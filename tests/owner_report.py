"""A registry for owners in tests: it keeps what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.processes import ProcessIdentity
from inference.reporting import Ready, Receipt, Vitals


@dataclass
class Report:
    """What an owner told."""

    runners: list[ProcessIdentity] = field(default_factory=list)
    ready_ones: list[Ready] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    is_kept: bool = True
    """Whether a process that ended is started again."""

    def is_wanted(self) -> bool:
        return True

    def loading(self, runner: ProcessIdentity, attempt: int) -> bool:
        self.runners.append(runner)
        return True

    def ready(self, facts: Ready) -> bool:
        self.ready_ones.append(facts)
        return True

    def alive(self, vitals: Vitals) -> None: ...

    def restarting(self, reason: str) -> bool:
        self.reasons.append(f"restarting: {reason}")
        return self.is_kept

    def failed(self, reason: str) -> None:
        self.reasons.append(reason)

    def stopped(self, receipt: Receipt) -> None: ...

    def interrupted(self) -> None: ...
