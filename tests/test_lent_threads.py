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


@pytest.mark.django_db(transaction=True)
def test_a_thread_whose_request_was_cancelled_is_lent_again_when_its_work_is_done() -> None:
    busy: list[int] = []
    may_end = threading.Event()

    def work() -> None:
        busy.append(threading.get_ident())
        may_end.wait(3 * SOON_S)

    async def ask() -> tuple[int, list[int]]:
        lender, until = ThreadLender(), time.monotonic() + 3 * SOON_S
        cancelled = asyncio.create_task(lender.run(work))
        while not busy:
            await asyncio.sleep(0.01)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        try:
            meanwhile = await asyncio.wait_for(lender.run(threading.get_ident), SOON_S)
        finally:
            may_end.set()
        while len(lender._idle) < 2 and time.monotonic() < until:
            await asyncio.sleep(0.01)
        return meanwhile, await asyncio.gather(*(lender.run(threading.get_ident) for _ in range(2)))

    meanwhile, later = asyncio.run(ask())

    assert meanwhile != busy[0]
    assert set(later) == {meanwhile, busy[0]}


def test_a_connection_that_the_server_has_closed_is_noticed_before_it_is_used() -> None:
    assert settings.DATABASES["default"]["CONN_HEALTH_CHECKS"] is True
