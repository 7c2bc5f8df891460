"""Non-blocking log lines of the runner, written to the pipe that its owner reads.

An owner that waits for the database, or is stopped, reads nothing. Once the pipe's 64 KiB were full, a blocking write
would stop the event loop and with it every prediction. What an engine itself prints may still block the engine's
thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable


def open_anew(descriptor: int) -> int:
    """Reopen the pipe so that writing to a full one fails instead of blocking; returns `descriptor` if that fails.

    It needs a separate descriptor, because libraries that print do not expect their writes to fail. Call it before
    entering the sandbox, which closes off /proc.
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    except OSError:
        return descriptor


class DroppingHandler(logging.Handler):
    """Writes each line to a descriptor immediately, or drops it if there is no room."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"{self.format(record)}\n".encode("utf-8", "replace"))


class RateLimited:
    """Logs at most `most_a_second` lines. How many were left out is logged with the first line in a later second."""

    def __init__(
        self, write: Callable[[str], None], *, most_a_second: int, clock: Callable[[], float] = time.monotonic
    ):
        self._write = write
        self._most = most_a_second
        self._clock = clock
        self._began = clock()
        self._written = self._left_out = 0

    def log(self, line: str) -> None:
        now = self._clock()
        if now - self._began >= 1.0:
            if self._left_out:
                self._write(f"{self._left_out:,} more lines like these were left out")
            self._began, self._written, self._left_out = now, 0, 0
        if self._written < self._most:
            self._written += 1
            self._write(line)
        else:
            self._left_out += 1
