"""What an owner needs in tests: an assignment, and a registry that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from inference.host.processes import ProcessIdentity
from inference.owner.reporting import Ready, Receipt, Vitals
from inference.owner.started_runner import Assignment
from inference.runner.config import RunnerConfig
from inference.workspace import Workspace


@dataclass
class Report:
    """What an owner told."""

    runners: list[ProcessIdentity] = field(default_factory=list)
    ready_ones: list[Ready] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    is_kept: bool = True
    """Whether a process that ended is started again."""
    is_unloaded: bool = False
    """Whether nobody wants it loaded any more."""
    look: Callable[[], object] = field(default=lambda: None)
    ends: list[tuple[str, object]] = field(default_factory=list)
    """How it ended, and what `look` saw at that moment."""

    def is_wanted(self) -> bool:
        return not self.is_unloaded

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
        self._end("failed")

    def stopped(self, receipt: Receipt) -> None:
        self._end("stopped")

    def interrupted(self) -> None:
        self._end("interrupted")

    def _end(self, how: str) -> None:
        self.ends.append((how, self.look()))


def assigned(folder: Path, name: str, source: Path, engine: str) -> Assignment:
    """A file to keep loaded, with all that belongs to it in `folder`."""
    form = source.suffix.removeprefix(".")
    return Assignment(
        name=name,
        source=source,
        file_name=f"model{source.suffix}",
        config=RunnerConfig(model_path="", format=form, engine=engine),
        workspace=Workspace(folder / name),
        sockets=folder,
        log_path=folder / f"{name}.log",
        environment={},
    )
