"""When a runner that ended is started again. Times are passed in: no clock is touched."""

from __future__ import annotations

import pytest

from inference.owner.restarts import End, RestartPolicy


def test_failures_before_ready_back_off_and_end_after_five_in_ten_minutes() -> None:
    policy = RestartPolicy()

    delays = [policy.delay_s(End.FAILED_TO_START, now) for now in (0, 10, 20, 30, 40)]

    assert delays == [1, 2, 4, 8, None]


def test_failures_far_apart_are_tried_for_ever() -> None:
    policy = RestartPolicy()

    delays = [policy.delay_s(End.FAILED_TO_START, now * 200.0) for now in range(50)]

    assert None not in delays


@pytest.mark.parametrize("end", [End.UNUSABLE, End.OUT_OF_MEMORY, End.TOO_SLOW])
def test_a_model_that_cannot_be_loaded_is_not_tried_again(end: End) -> None:
    assert RestartPolicy().delay_s(end, 0) is None
    assert RestartPolicy().final_sentence(end, "boom") == ""


def test_kills_from_outside_are_never_counted() -> None:
    policy = RestartPolicy()

    delays = [policy.delay_s(End.KILLED, now) for now in range(100)]

    assert set(delays) == {0.0}


def test_three_crashes_in_a_minute_hold_the_model_off() -> None:
    policy = RestartPolicy()

    delays = [policy.delay_s(End.CRASHED, now) for now in (0, 20, 40)]

    assert delays == [0.0, 1.0, None]


def test_thirty_seconds_ready_bring_the_back_off_to_its_start() -> None:
    policy = RestartPolicy()
    policy.delay_s(End.CRASHED, 0)

    policy.ready_for(31)

    assert policy.delay_s(End.CRASHED, 100) == 0.0


def test_the_sentences_say_what_comes_next() -> None:
    policy = RestartPolicy()
    policy.delay_s(End.FAILED_TO_START, 0)

    assert policy.retry_sentence(End.FAILED_TO_START, 1.0) == "Next try in 1 s, try 2 of 5."
    assert policy.retry_sentence(End.KILLED, 0.0) == "It is started again now."
    assert "Load it to try again" in policy.final_sentence(End.CRASHED, "")
    assert "boom" in policy.final_sentence(End.FAILED_TO_START, "boom")
