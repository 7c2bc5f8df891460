"""The newcomer's way: the sample is there, is loaded, answers, is unloaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.running_portal import Api, RunningPortal

pytestmark = pytest.mark.portal


def test_the_sample_loads_answers_and_unloads(portal: RunningPortal, api: Api, digit: Callable[[str], bytes]) -> None:
    loaded = api.load("digits")
    pid = loaded["instances"][0]["pid"]

    answer = api.ask("digits", digit("seven"), digit("two"), top=3).json()
    receipt = api.unload("digits")

    assert loaded["state"] == "loaded"
    assert [p["top"][0]["label"] for p in answer["predictions"]] == ["7", "2"]
    assert [len(p["top"]) for p in answer["predictions"]] == [3, 3]
    assert receipt["pids"] == [pid]
    assert receipt["process_exited"] is True
    assert pid not in [process.pid for process in portal.runners()]
