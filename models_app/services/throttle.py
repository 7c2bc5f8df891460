"""Wrong passwords: ten in five minutes for one user name and address, then no more tries for a while.

Looked at before a password is checked and again before its outcome is told: checking is slow on purpose, and a hundred
guesses side by side would all be let in by the first look. One at a time in each process, so that guesses under many
names leave cores to those who ask models; no limit for an address alone, as behind a proxy all people share one.
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
_one_at_a_time = threading.Lock()


@contextmanager
def guessing(user_name: str, address: str) -> Iterator[None]:
    """Around the look at a password. Raises Throttled before it, and after it whatever came of it."""
    _check(user_name, address)
    if not _one_at_a_time.acquire(timeout=WAIT_S):
        raise Throttled("Too many people log in at once. Try again in some seconds.", retry_after_s=AGAIN_S)
    try:
        yield
    finally:
        _one_at_a_time.release()
        _check(user_name, address)


def _check(user_name: str, address: str) -> None:
    """Raises Throttled where there were too many failures lately."""
    recent = LoginFailure.objects.filter(
        user_name=user_name[:150], address=address, at__gt=timezone.now() - WITHIN
    ).order_by("-at")
    times = list(recent.values_list("at", flat=True)[:MOST_FAILURES])
    if len(times) >= MOST_FAILURES:
        left = int((times[-1] + WITHIN - timezone.now()).total_seconds()) + 1
        raise Throttled(f"Too many wrong passwords. Try again in {left} s.", retry_after_s=left)


def note_failure(user_name: str, address: str) -> None:
    LoginFailure.objects.filter(at__lt=timezone.now() - WITHIN).delete()
    LoginFailure.objects.create(user_name=user_name[:150], address=address)
