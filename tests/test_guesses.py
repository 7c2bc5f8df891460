"""However many passwords are guessed at once, looking at them takes one core of each process of the web server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from inference.errors import Throttled
from models_app.services import throttle
from models_app.services.throttle import guessing

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 8


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


def test_who_would_wait_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "WAIT_S", 0.05)

    def guess() -> float | None:
        try:
            with guessing("bob", "127.0.0.1"):
                return None
        except Throttled as refusal:
            return refusal.retry_after_s
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with guessing("ada", "127.0.0.1"):
            assert thread.submit(guess).result() == throttle.AGAIN_S
        assert thread.submit(guess).result() is None
