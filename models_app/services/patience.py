"""How long a write waits while somebody else holds the database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, connection


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """For figures that can be written another time: a held or full database costs them, and nobody waits.

    Elsewhere a write waits 20 s (the options of SQLite in the settings). Suppresses DatabaseError. Not inside a
    transaction: that one waits when it begins.
    """
    try:
        with _busy_timeout(0):
            yield
    except DatabaseError:
        connection.close()


@contextlib.contextmanager
def _busy_timeout(milliseconds: int) -> Iterator[None]:
    if connection.vendor != "sqlite":
        yield
        return
    usual = int(settings.DATABASES["default"]["OPTIONS"]["timeout"]) * 1000
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout={milliseconds}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout={usual}")
