"""What fails again and again is told when it begins and when it is over, not each time."""

from __future__ import annotations

import logging


class Outage:
    """Of one thing, in one process. `begins` and `ends` are the two lines of the log; the first is followed by why."""

    def __init__(self, logger: logging.Logger, begins: str, ends: str) -> None:
        self._logger = logger
        self._begins = begins
        self._ends = ends
        self._is_on = False

    def goes_on(self, error: Exception) -> None:
        if not self._is_on:
            self._logger.warning("%s: %s", self._begins, one_line(error))
        self._is_on = True

    def is_over(self) -> None:
        if self._is_on:
            self._logger.warning(self._ends)
        self._is_on = False


def one_line(error: Exception) -> str:
    """What it says, without the line breaks of a database."""
    return " ".join(str(error).split())
