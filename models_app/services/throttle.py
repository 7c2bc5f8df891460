"""Wrong passwords: ten in five minutes for one user name and address, then no more tries for a while.

They are counted before a password is checked and again before its result is told: checking is slow on purpose, and a
hundred parallel guesses would all pass the first count. Each process checks one password at a time, so that guesses
under many names leave cores to predictions; no limit for an address alone, as many people may share one. Few wait for
their turn, and without using the database: a crowd of 150 took all the connections that PostgreSQL gives.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.utils import timezone

from inference.errors import Throttled
from models_app.models import LoginFailure

MOST_FAILURES = 10
WITHIN = timedelta(minutes=5)
WAIT_S, AGAIN_S = 10.0, 5
MOST_WAITING = 16
_one_at_a_time = threading.Lock()
_places = threading.BoundedSemaphore(1 + MOST_WAITING)


@contextmanager
def guessing(user_name: str, address: str) -> Iterator[None]:
    """Around the check of a password. Raises Throttled before it, or after it whatever its result."""
    with _turn():
        _check(user_name, address)
        try:
            yield
        finally:
            _check(user_name, address)


@contextmanager
def _turn() -> Iterator[None]:
    """Raises Throttled at once where many wait already, and after a while where no turn comes."""
    too_many = Throttled("Too many people log in at once. Try again in some seconds.", retry_after_s=AGAIN_S)
    if not _places.acquire(blocking=False):
        raise too_many
    try:
        if not _one_at_a_time.acquire(timeout=WAIT_S):
            raise too_many
        try:
            yield
        finally:
            _one_at_a_time.release()
    finally:
        _places.release()


def _check(user_name: str, address: str) -> None:
    """Raises Throttled where there were too many failures lately. Those dated later than now do not count: the clock
    went back."""
    now = timezone.now()
    recent = LoginFailure.objects.filter(
        user_name=user_name[:150], address=address, at__gt=now - WITHIN, at__lte=now
    ).order_by("-at")
    times = list(recent.values_list("at", flat=True)[:MOST_FAILURES])
    if len(times) >= MOST_FAILURES:
        left = int((times[-1] + WITHIN - now).total_seconds()) + 1
        raise Throttled(f"Too many wrong passwords. Try again in {left} s.", retry_after_s=left)


def note_failure(user_name: str, address: str) -> None:
    LoginFailure.objects.filter(at__lt=timezone.now() - WITHIN).delete()
    LoginFailure.objects.create(user_name=user_name[:150], address=address)
