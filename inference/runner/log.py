"""The runner's log lines: they go to the pipe that its owner reads, and never wait for it.

An owner that waits for the database, or is stopped, reads nothing. Once the 64 KiB of the pipe were full, the loop
stood still in its next line, and with it every prediction. What an engine prints by itself may still wait, on the
engine's thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable


def open_anew(descriptor: int) -> int:
    """The same pipe, where a full one is an error instead of a wait; `descriptor` itself where that cannot be had.

    A descriptor of its own: what libraries print would otherwise fail too, and they do not expect that.
    Before the sandbox is entered, which shuts /proc.
    """
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    except OSError:
        return descriptor


class DroppingHandler(logging.Handler):
    """Writes each line to a descriptor at once, or drops it where there is no room."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, f"{self.format(record)}\n".encode("utf-8", "replace"))


class Rationed:
    """Says so many lines a second. How many were left out is said with the first line that comes later."""

    def __init__(self, say: Callable[[str], None], *, most_a_second: int, clock: Callable[[], float] = time.monotonic):
        self._say = say
        self._most = most_a_second
        self._clock = clock
        self._began = clock()
        self._said = self._left_out = 0

    def say(self, line: str) -> None:
        now = self._clock()
        if now - self._began >= 1.0:
            if self._left_out:
                self._say(f"{self._left_out:,} more lines like these were left out")
            self._began, self._said, self._left_out = now, 0, 0
        if self._said < self._most:
            self._said += 1
            self._say(line)
        else:
            self._left_out += 1
