"""Standard input, output and error for a process that goes on where they are closed or nobody reads them."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

_NOBODY_READS = {errno.EPIPE, errno.EIO}
"""EPIPE: the program behind the pipe has ended. EIO: the terminal is gone."""


def keep_open() -> None:
    """To be called before anything is opened: else the next socket would get the number of a closed 0, 1 or 2."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout, "strict")
    sys.stderr = _text(_Log(2, "w", closefd=False), sys.stderr, "backslashreplace")


class _Output(io.FileIO):
    """Drops what nobody reads. Else it would stay in Python's buffer and break the next flush, which is part of
    starting each process of a cluster."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not self.may_lose(error):
                raise
            return len(data)

    def may_lose(self, error: OSError) -> bool:
        return error.errno in _NOBODY_READS


class _Log(_Output):
    """Drops output on any error, such as a full disk."""

    def may_lose(self, error: OSError) -> bool:
        return True


def _text(file: io.FileIO, instead_of: TextIO | None, errors: str) -> io.TextIOWrapper:
    encoding = instead_of.encoding if instead_of is not None else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(file), encoding, errors, line_buffering=True)
