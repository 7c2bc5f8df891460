"""The last lines that a process printed: bounded in number and length, kept in a file that survives the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

LINES_KEPT = 200
LINE_LENGTH = 1000
_WRITE_EVERY_S = 1.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class OutputRing:
    """Takes raw bytes and keeps the last complete lines with the time they arrived, in bounded memory.

    Several rings may share a file, as the instances of a version do: each appends its lines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._partial = b""
        self._unwritten = 0
        self._written_at = 0.0

    def feed(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-LINE_LENGTH:]
        for line in lines[-LINES_KEPT:]:
            self.add(line.decode("utf-8", "replace"))

    def add(self, line: str) -> None:
        text = "".join(c if c.isprintable() else " " for c in _COLOURS.sub("", line[:LINE_LENGTH])).rstrip()
        if text:
            self._lines.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}")
            self._unwritten += 1

    def last(self, count: int) -> list[str]:
        """The last lines of this ring; lines of others in the file do not count."""
        return list(self._lines)[-count:]

    def write(self, *, now: bool = False) -> None:
        """Put the lines on disk, at most once a second unless `now`."""
        if not self._unwritten or (not now and time.monotonic() - self._written_at < _WRITE_EVERY_S):
            return
        self._written_at = time.monotonic()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self._path.parent):
                lines = [*read_lines(self._path), *self.last(self._unwritten)][-LINES_KEPT:]
                beside = _beside(self._path)
                beside.write_text("\n".join(lines) + "\n", "utf-8")
                beside.replace(self._path)
            self._unwritten = 0
        except OSError:  # a full disk must not end the owner
            pass


def read_lines(path: Path) -> list[str]:
    """The kept lines, oldest first; none if there is no file."""
    try:
        return path.read_text("utf-8", "replace").splitlines()[-LINES_KEPT:]
    except OSError:
        return []


def remove_lines(path: Path) -> None:
    """Delete the kept lines, and the temporary file of a process that was killed while it wrote."""
    for each in (path, _beside(path)):
        each.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_suffix(".new")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder, for milliseconds; the file itself cannot be locked because it is replaced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
