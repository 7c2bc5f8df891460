"""Memory runs out: the load fails once and says what it needed and what is free; what was loaded goes on."""

from __future__ import annotations

import time

import psutil
import pytest

from tests.faults.conftest import BENCH, Files
from tests.faults.figures import note
from tests.faults.invariants import ask, runners_by_pid, watched
from tests.faults.memory_group import memory_group
from tests.faults.small_models import work
from tests.faults.test_kills import workers
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal


def test_f5_input_beyond_the_memory_limit_ends_its_process_and_is_counted(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    limit = '{"memory_limit_bytes":300000000}'
    manager.upload("greedy", small_files.workbench, **BENCH, options=limit)
    manager.load("greedy")

    with watched(faulty, "steady"):
        answer = ask(manager, "greedy", work(floats=150_000_000, rounds=3_000_000))
        wait_for(lambda: ask(manager, "greedy", work()).status == 200, 60, "the model answers again")

    history = manager.get("/api/models/greedy/versions/1/history/").json()["results"]
    assert (answer.status, answer.body["code"]) == (502, "runner_died")
    assert any("more than its limit of 300 MB" in row["reason"] for row in history)
    manager.delete("/api/models/greedy/", params={"unload": "true"})


def test_f5_a_load_beyond_the_memory_limit_fails_once_and_says_what_it_needs(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    version = manager.upload("too-large", small_files.wide(1500), **BENCH, options='{"memory_limit_bytes":400000000}')
    assert version["status"] == "ready", version["status_detail"]

    with watched(faulty, "steady"):
        began = time.monotonic()
        answer = manager.post("/api/models/too-large/load/", params={"wait": 60})
        took = time.monotonic() - began

    detail = answer.json()["detail"]
    history = manager.get("/api/models/too-large/versions/1/history/").json()["results"]
    note("F5", "a load beyond its memory limit", recovered_s=took, lost=0, remark=detail[:70])
    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "400 MB" in detail and "free" in detail
    assert [row["after"] for row in history].count("restarting") == 0, "no retry"
    assert manager.version("too-large")["state"] == "failed"
    manager.delete("/api/models/too-large/", params={"unload": "true"})


def test_f5_a_load_that_the_kernel_ends_for_memory_fails_once(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    version = manager.upload("oom", small_files.wide(1400), **BENCH)
    assert version["status"] == "ready", version["status_detail"]
    holders = {psutil.Process(pid).ppid() for pid in runners_by_pid(faulty.data_dir)}

    with memory_group(500 * 2**20) as group, watched(faulty, "steady"):
        for worker in workers(faulty):
            if worker.pid not in holders:
                group.take(worker.pid)
        began = time.monotonic()
        answer = manager.post("/api/models/oom/load/", params={"wait": 60})
        took = time.monotonic() - began
        pid = manager.pid("bench")

    detail = answer.json()["detail"]
    note("F5", "a load that the kernel ends for memory", recovered_s=took, lost=0, remark=detail[:70])
    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "Memory ran out" in detail and "B are free" in detail
    history = manager.get("/api/models/oom/versions/1/history/").json()["results"]
    assert [row["after"] for row in history].count("restarting") == 0, "no retry"
    assert pid in runners_by_pid(faulty.data_dir), "earlier models serve"
    manager.delete("/api/models/oom/", params={"unload": "true"})


def test_f5_a_load_that_the_host_cannot_hold_says_how_much_is_free(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    more_than_there_is = psutil.virtual_memory().total * 4 // 2**20
    version = manager.upload("giant", small_files.wide(more_than_there_is), **BENCH)

    assert version["status"] == "ready", version["status_detail"]

    with watched(faulty, "steady"):
        answer = manager.post("/api/models/giant/load/", params={"wait": 60})

    sentence = answer.json()["detail"]
    note("F5", "a model that no memory holds", lost=0, remark=sentence[:70])
    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "not enough memory" in sentence and "B are free" in sentence
    manager.delete("/api/models/giant/", params={"unload": "true"})
