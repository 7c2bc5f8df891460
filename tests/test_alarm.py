"""One timer for many moments."""

from __future__ import annotations

import asyncio

import pytest

from inference.alarm import Alarm


def rung(asked_s: list[float], wait_s: float, *, again_s: float | None = None, is_stopped: bool = False) -> list[float]:
    """After how many seconds it rang, asked for these moments from now on, and once more at the first ring."""

    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        heard: list[float] = []

        def ring() -> None:
            heard.append(loop.time() - began)
            if again_s is not None and len(heard) == 1:
                alarm.set(loop.time() + again_s)

        alarm = Alarm(ring)
        for seconds in asked_s:
            alarm.set(began + seconds)
        if is_stopped:
            alarm.stop()
        await asyncio.sleep(wait_s)
        return heard

    return asyncio.run(run())


@pytest.mark.parametrize("asked_s", [[0.1, 0.3, 0.2], [0.3, 0.1], [0.1, 0.1]])
def test_it_rings_once_at_the_earliest_moment(asked_s: list[float]) -> None:
    heard = rung(asked_s, 0.6)

    assert len(heard) == 1 and 0.09 < heard[0] < 0.25


def test_it_rings_again_where_it_is_asked_again() -> None:
    heard = rung([0.1], 0.6, again_s=0.1)

    assert len(heard) == 2 and heard[1] - heard[0] > 0.09


def test_a_moment_that_has_passed_is_now() -> None:
    assert len(rung([-5.0], 0.1)) == 1


def test_it_does_not_ring_after_it_was_stopped() -> None:
    assert rung([0.1], 0.3, is_stopped=True) == []
