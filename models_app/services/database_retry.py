"""Writes while somebody else locks the database: tried again, or left for another time."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from models_app.outage import one_line

logger = logging.getLogger("portal.database")

T = TypeVar("T")
RETRY_FOR_S = 60.0
RETRY_EVERY_S = 0.5
LOG_EVERY_S = 10.0


def with_retries(write: Callable[[], T]) -> T:
    """Do a write that must not be lost; retry for up to a minute while the database refuses it.

    Raises DatabaseError after that. `write` may be called more than once. Not inside a transaction.
    """
    log_at = time.monotonic()
    deadline = log_at + RETRY_FOR_S
    while True:
        try:
            return write()
        except DatabaseError as error:
            connection.close()
            now = time.monotonic()
            if now > deadline:
                raise
            if now >= log_at:
                log_at = now + LOG_EVERY_S
                logger.warning("the database did not take a change; trying again: %s", one_line(error))
            time.sleep(RETRY_EVERY_S)


def without_waiting(write: Callable[[], T]) -> T | None:
    """Do a write that can be done another time; None where the database is locked, full or unavailable.

    Other writes wait up to 20 s (the options of the databases in the settings). Not inside a transaction, which waits
    when it begins.
    """
    try:
        with _no_lock_wait():
            return write()
    except DatabaseError:
        connection.close()
        return None


@contextlib.contextmanager
def _no_lock_wait() -> Iterator[None]:
    if connection.vendor == "sqlite":
        usual = int(settings.DATABASES["default"]["OPTIONS"]["timeout"]) * 1000
        at_once, as_usual = "PRAGMA busy_timeout=0", f"PRAGMA busy_timeout={usual}"
    else:  # PostgreSQL
        at_once, as_usual = "SET lock_timeout = '1ms'", "RESET lock_timeout"
    with connection.cursor() as cursor:
        cursor.execute(at_once)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(as_usual)
