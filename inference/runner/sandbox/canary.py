"""Tests the sandbox from inside by trying what must not work: what counts is how the kernel responds."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

FILES = "Files outside of its own folders can be opened"
NETWORK = "the network can be used"
PROGRAMS = "programs can be started"
SIGNALS = "other processes can be signalled"


def is_readable(canary: Path) -> bool:
    """Whether the file can be read. Outside of the sandbox it must be, or the test proves nothing."""
    try:
        with canary.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def find_holes(canary: Path) -> list[str]:
    """Which of these still work: reading or writing `canary`, network, starting programs, signalling the parent."""
    attempts: list[tuple[str, Callable[[], object]]] = [
        (FILES, lambda: _open(canary, os.O_RDONLY)),
        (FILES, lambda: _open(canary, os.O_WRONLY)),
        (NETWORK, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()),
        (PROGRAMS, lambda: _execute(canary.with_name("no-such-program"))),
        (PROGRAMS, _fork),
        (SIGNALS, lambda: os.kill(os.getppid(), 0)),
    ]
    holes = [hole for hole, attempt in attempts if not _is_refused(attempt)]
    return list(dict.fromkeys(holes))


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        # ENOSYS is no refusal by us, and ENOENT means that the kernel got as far as to look for the file.
        return error.errno in (errno.EPERM, errno.EACCES)
    return False


def _open(path: Path, mode: int) -> None:
    os.close(os.open(path, mode | os.O_CLOEXEC))


def _execute(path: Path) -> None:
    """The file does not exist, so that this process goes on even if nothing blocks the call."""
    os.execv(path, [str(path)])


def _fork() -> None:
    if (pid := os.fork()) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
