"""How long a write waits while somebody else locks the database."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, connection

from models_app.outage import one_line

logger = logging.getLogger("portal.patience")

T = TypeVar("T")
DATABASE_PATIENCE_S = 60.0
TRY_AGAIN_EVERY_S = 0.5
TELL_EVERY_S = 10.0


def patiently(write: Callable[[], T]) -> T:
    """Do a write that must not be lost; retry for up to a minute while the database refuses it.

    Raises DatabaseError after that. `write` may be called more than once. Not inside a transaction.
    """
    tell_at = time.monotonic()
    deadline = tell_at + DATABASE_PATIENCE_S
    while True:
        try:
            return write()
        except DatabaseError as error:
            connection.close()
            now = time.monotonic()
            if now > deadline:
                raise
            if now >= tell_at:
                tell_at = now + TELL_EVERY_S
                logger.warning("the database did not take a change; trying again: %s", one_line(error))
            time.sleep(TRY_AGAIN_EVERY_S)


def without_waiting(write: Callable[[], T]) -> T | None:
    """Do a write that can be done another time; None where the database is locked, full or unavailable.

    Other writes wait up to 20 s (the options of the databases in the settings). Not inside a transaction, which waits
    when it begins.
    """
    try:
        with _no_patience():
            return write()
    except DatabaseError:
        connection.close()
        return None


@contextlib.contextmanager
def _no_patience() -> Iterator[None]:
    if connection.vendor == "sqlite":
        usual = int(settings.DATABASES["default"]["OPTIONS"]["timeout"]) * 1000
        impatient, patient = "PRAGMA busy_timeout=0", f"PRAGMA busy_timeout={usual}"
    elif connection.vendor == "postgresql":
        impatient, patient = "SET lock_timeout = '1ms'", "RESET lock_timeout"
    else:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(impatient)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(patient)
