"""However many passwords are guessed at once, looking at them takes one core of each process of the web server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from itertools import islice

import pytest
from django.db import connection
from django.utils import timezone

from inference.errors import Throttled
from models_app.models import LoginFailure
from models_app.services import throttle
from models_app.services.throttle import guessing

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 8


def refusal(user_name: str) -> tuple[float | None, bool]:
    """After how many seconds this guess may come again, if it is refused, and whether it has opened the database."""
    try:
        with guessing(user_name, "127.0.0.1"):
            return None, connection.connection is not None
    except Throttled as refused:
        return refused.retry_after_s, connection.connection is not None
    finally:
        connection.close()


def test_one_password_is_looked_at_at_a_time() -> None:
    inside, most = [], []
    all_here = threading.Barrier(AT_ONCE, timeout=30)

    def guess(number: int) -> None:
        all_here.wait()
        try:
            with guessing(f"user{number}", "127.0.0.1"):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.02)  # stands for the work on a password
                inside.remove(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(guess, range(AT_ONCE)))

    assert most == [1] * AT_ONCE


def test_wrong_passwords_of_a_time_to_come_do_not_count() -> None:
    for _ in range(throttle.MOST_FAILURES):
        throttle.note_failure("ada", "127.0.0.1")
    wait_s, _ = refusal("ada")
    LoginFailure.objects.update(at=timezone.now() + timedelta(hours=1))

    assert wait_s is not None and wait_s <= throttle.WITHIN.total_seconds()
    assert refusal("ada") == (None, True)


def test_who_would_wait_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "WAIT_S", 0.05)

    with ThreadPoolExecutor(1) as thread:
        with guessing("ada", "127.0.0.1"):
            assert thread.submit(refusal, "bob").result() == (throttle.AGAIN_S, False)
        assert thread.submit(refusal, "bob").result() == (None, True)


def test_of_a_crowd_few_wait_and_the_others_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred who waited with the database open took all connections that PostgreSQL gives."""
    monkeypatch.setattr(throttle, "WAIT_S", 60.0)
    crowd = [f"user{number}" for number in range(3 * throttle.MOST_WAITING)]

    with ThreadPoolExecutor(len(crowd)) as threads:
        with guessing("ada", "127.0.0.1"):
            answers = [threads.submit(refusal, name) for name in crowd]
            told = [answer.result() for answer in islice(as_completed(answers, timeout=30), 2 * throttle.MOST_WAITING)]
        waited = [answer.result() for answer in answers]

    assert told == [(throttle.AGAIN_S, False)] * len(told)
    assert waited.count((None, True)) == throttle.MOST_WAITING
