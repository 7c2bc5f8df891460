"""Log a repeated failure when it begins and when it is over, not each time."""

from __future__ import annotations

import logging
from pathlib import Path

from django.conf import settings


class Outage:
    """An outage as one process sees it. `begins` and `ends` are the two lines of the log; the first adds the error."""

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


def without_database(error: Exception) -> str:
    """The sentence with which a command ends that needs the database."""
    lies_in_data = Path(settings.DATABASES["default"]["NAME"]).parent == settings.PORTAL_DATA_DIR
    where = "the disk of PORTAL_DATA_DIR" if lies_in_data else "DATABASE_URL"
    return f"The database cannot be used: {one_line(error)}. Look at {where}."


def one_line(error: Exception) -> str:
    """The error's text in one line; those of databases have several."""
    return " ".join(str(error).split())
