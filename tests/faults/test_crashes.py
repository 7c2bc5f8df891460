"""Input that ends its process each time, and many good requests beside it."""

from __future__ import annotations

import time

import pytest

from tests.faults.conftest import BENCH, Files
from tests.faults.figures import note
from tests.faults.invariants import Asked, ask, watched
from tests.faults.small_models import work
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal


def test_f14_input_that_kills_its_process_fails_alone_and_holds_the_model_off_after_three(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("deadly", small_files.workbench, **BENCH)
    manager.load("deadly")
    killed: list[Asked] = []
    restarts: list[float] = []

    with watched(faulty, "steady"):
        for attempt in range(3):
            wait_for(lambda: ask(manager, "deadly", work()).status == 200, 60, f"ready before kill {attempt + 1}")
            killed.append(ask(manager, "deadly", work(kills=True)))
            restarts.append(time.monotonic())
        wait_for(lambda: manager.version("deadly")["state"] == "failed", 10, "the model is held off")
        held_off = ask(manager, "deadly", work())
        detail = manager.version("deadly")["state_detail"]
        manager.load("deadly")
        again = ask(manager, "deadly", work())

    note(
        "F14", "input that ends its process, three times", recovered_s=restarts[1] - restarts[0], lost=3, remark=detail
    )
    assert [(answer.status, answer.body["code"]) for answer in killed] == [(502, "runner_died")] * 3
    assert (held_off.status, held_off.body["code"]) == (503, "unavailable")
    assert "3 times within a minute" in detail and "signal 8" in detail
    assert again.status == 200
    manager.delete("/api/models/deadly/", params={"unload": "true"})


def test_f14_input_that_only_fails_costs_nothing_but_itself(faulty: RunningPortal, manager: Api) -> None:
    pid = manager.pid("bench")

    with watched(faulty, "steady"):
        answers = [ask(manager, "bench", work(fails=True)) for _ in range(5)]

    assert {(answer.status, answer.body["code"]) for answer in answers} == {(502, "engine_error")}
    assert manager.pid("bench") == pid
