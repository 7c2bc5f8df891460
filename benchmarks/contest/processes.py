"""Starts the servers, each in a process group of its own, and ends them with everything that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

ASKED_FOR_S = 10.0


@contextmanager
def running(
    command: list[str], folder: Path, environment: Mapping[str, str], log: Path, **pipes: Any
) -> Iterator[subprocess.Popen[str]]:
    """The started command; afterwards neither it nor any child of it is left, however the block ended."""
    with log.open("a") as out:
        pipes.setdefault("stdout", out)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_inherited() | dict(environment),
            stderr=out,
            text=True,
            start_new_session=True,
            **pipes,
        )
    try:
        yield process
    finally:
        end(process)
        pipe: IO[str] | None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM to the group, then SIGKILL to all children left: some servers give workers groups of their own."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ASKED_FOR_S)
    _, alive = psutil.wait_procs(family, 2.0)
    for left in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(5)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all its running children since they began."""
    whole = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                whole += times.user + times.system
    return whole


def _inherited() -> dict[str, str]:
    """The variables that do not affect the rivals' own environments."""
    left_out = ("PYTHON", "VIRTUAL_ENV", "PORTAL_", "DJANGO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
