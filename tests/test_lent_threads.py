"""Threads and connections that are kept between requests: few, and looked at before they are used again."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from django.conf import settings
from django.db import connection

from portal.lean.threads import MOST_IDLE, ThreadLender

AT_ONCE = 3 * MOST_IDLE
SOON_S = 10.0


def kept() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("request")]


@pytest.mark.django_db(transaction=True)
def test_of_many_threads_that_were_needed_at_once_few_are_kept() -> None:
    all_here = threading.Barrier(AT_ONCE, timeout=SOON_S)

    def work() -> None:
        connection.ensure_connection()
        all_here.wait()

    async def ask() -> int:
        lender = ThreadLender()
        await asyncio.gather(*(lender.run(work) for _ in range(AT_ONCE)))
        until = time.monotonic() + SOON_S
        while len(kept()) > MOST_IDLE and time.monotonic() < until:
            await asyncio.sleep(0.01)
        return len(kept())

    assert asyncio.run(ask()) == MOST_IDLE


def test_a_connection_that_the_server_has_closed_is_noticed_before_it_is_used() -> None:
    assert settings.DATABASES["default"]["CONN_HEALTH_CHECKS"] is True
