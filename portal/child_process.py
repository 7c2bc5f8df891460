"""One process that `serve` supervises: started, started again when it ends, stopped with a grace period."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from inference.host.processes import die_with_parent

logger = logging.getLogger("portal.serve")

_STEADY_S = 30.0
_LONGEST_PAUSE_S = 10.0


@dataclass
class Child:
    """One supervised process, in a group of its own so that Ctrl-C reaches only `serve`.

    It dies with `serve`, even if that is killed: else the next `serve` would find port and data in use.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    grace_s: float
    clean_up: Callable[[int], None] = lambda pid: None
    """Called with the pid of a process that ended, to remove what it left behind."""
    descriptors: Sequence[int] = ()
    """File descriptors of `serve` that it inherits."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause_s: float = 0.0
    kill_at: float = 0.0

    def start(self) -> None:
        """A start that the system refuses (no memory for a moment) counts as an end."""
        self.started_at = time.monotonic()
        try:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                process_group=0,
                pass_fds=self.descriptors,
                preexec_fn=partial(die_with_parent, os.getpid()),  # survives the exec
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._start_again(f"could not be started ({error})")

    def look(self) -> None:
        """Restart it if it has ended: at once the first time or after 30 s of running, else after 1, 2, 4 … 10 s."""
        if self.process is None:
            if time.monotonic() >= self.start_again_at:
                self.start()
            return
        code = self.process.poll()
        if code is not None:
            self.clean_up(self.process.pid)
            self._start_again(f"ended with {code}")

    def _start_again(self, what: str) -> None:
        is_steady = time.monotonic() - self.started_at > _STEADY_S
        self.pause_s = (
            0.0
            if is_steady or (self.pause_s == 0.0 and not self.start_again_at)
            else min(_LONGEST_PAUSE_S, max(1.0, self.pause_s * 2))
        )
        logger.error("%s %s; starting it again in %.0f s", self.name, what, self.pause_s)
        self.start_again_at = time.monotonic() + self.pause_s
        self.process = None

    def ask_to_stop(self) -> None:
        """Send SIGTERM; the grace period begins."""
        self.kill_at = time.monotonic() + self.grace_s
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait_or_kill(self) -> None:
        """Wait for the grace period at most, then send SIGKILL to the process group."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, self.kill_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.error("%s did not stop within %.0f s and is killed", self.name, self.grace_s)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def end_all(children: Sequence[Child]) -> None:
    """Stop all at the same time, within one grace period."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.wait_or_kill()
