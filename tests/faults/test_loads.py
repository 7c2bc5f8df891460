"""Many loads at once, unloads with requests in flight, deletions, and threads that load and unload as they like."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests

from tests.faults.conftest import ADDER, BENCH, SCALE, Files
from tests.faults.figures import note
from tests.faults.invariants import Asked, answered, ask, in_background, is_answering, runners_by_pid, watched
from tests.faults.small_models import asked, work
from tests.faults.test_kills import ask_for_long
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

SLOTS = 8
SHORT_S, LONG_S = 6, 6 * SCALE
LISTED = {(200, None), (202, None), (409, "in_use"), (409, "not_loaded"), (502, "load_failed"), (503, "no_slot")}


def test_f7_more_loads_than_slots_all_reach_an_end(faulty: RunningPortal, manager: Api, small_files: Files) -> None:
    names = [f"many-{i}" for i in range(10)]
    for name in names:
        manager.upload(name, small_files.adder(), **ADDER)

    with watched(faulty, "steady"):
        began = time.monotonic()
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda name: _load(faulty, name), names))
        wait_for(lambda: _count(manager, names, "loaded") == SLOTS - 2 or None, 120, "all slots are taken")
        took = time.monotonic() - began
        waiting = [version for name in names if (version := manager.version(name))["state"] == "queued"]
        for name in names[:5]:  # whatever is loaded of them makes room
            manager.unload(name)
        wait_for(lambda: _count(manager, names, "queued") == 0 or None, 120, "those that waited are loaded")

    note("F7", "ten loads at once, six slots free", recovered_s=took, lost=0)
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert sorted(version["state_detail"] for version in waiting) == [f"place {i} of 4" for i in (1, 2, 3, 4)]
    for name in names:
        assert manager.delete(f"/api/models/{name}/", params={"unload": "true"}).status_code == 204


def test_f8_an_unload_finishes_what_is_in_flight_and_refuses_what_is_new(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("leaving", small_files.workbench, **BENCH)
    pid = manager.load("leaving")["instances"][0]["pid"]

    with watched(faulty, "steady"):
        first = ask_for_long(faulty, "leaving", seconds=10)
        others = [in_background(lambda: ask(faulty.client(), "leaving", work(rounds=1000))) for _ in range(3)]
        wait_for(lambda: manager.version("leaving")["instances"][0]["requests"] >= 4, 30, "all are with the model")
        began = time.monotonic()
        unloading = in_background(lambda: _unloaded(faulty, "leaving"))
        wait_for(lambda: manager.version("leaving")["state"] == "unloading", 10, "it is being unloaded")
        late = ask(manager, "leaving", work())
        answers = [first(), *(other() for other in others)]
        receipt = unloading().body
        took = time.monotonic() - began

    note("F8", "unload with four requests in flight", recovered_s=took, lost=0)
    assert [answer.status for answer in answers] == [200] * 4
    assert (late.status, late.body["code"]) == (409, "not_loaded")
    assert (receipt["drained_requests"], receipt["failed_requests"]) == (4, 0)
    assert not psutil.pid_exists(pid)
    manager.delete("/api/models/leaving/")


def test_f9_a_loaded_model_is_not_deleted_and_two_loads_make_one_process(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("twice", small_files.adder(), **ADDER)

    with watched(faulty, "steady"):
        before = set(runners_by_pid(faulty.data_dir))
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: _load(faulty, "twice", wait=60), range(4)))
        made = set(runners_by_pid(faulty.data_dir)) - before
        refused = manager.delete("/api/models/twice/")

    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(made) == 1
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert is_answering(manager, "twice")
    manager.delete("/api/models/twice/", params={"unload": "true"})


@pytest.mark.parametrize("seconds", [SHORT_S, pytest.param(LONG_S, marks=pytest.mark.long)])
def test_f9_threads_of_load_and_unload_end_as_the_last_command_said(
    faulty: RunningPortal, manager: Api, small_files: Files, seconds: int
) -> None:
    names = [f"fought-over-{i}" for i in range(4)]
    for name in names:
        manager.upload(name, small_files.adder(), **ADDER)
    outcomes: Counter[tuple[int, str | None]] = Counter()
    is_over = threading.Event()

    def fight(seed: int) -> None:
        chance, api = random.Random(seed), faulty.client()
        while not is_over.is_set():
            verb = chance.choice(["load", "unload", "predict"])
            answer = _command(api, chance.choice(names), verb, wait=chance.choice([0, 0, 1, 10]))
            outcomes[answer.status_code, answer.json().get("code")] += 1

    with watched(faulty, "steady"):
        threads = [threading.Thread(target=fight, args=(seed,)) for seed in range(32)]
        for thread in threads:
            thread.start()
        is_over.wait(seconds)
        is_over.set()
        for thread in threads:
            thread.join(120)
        began = time.monotonic()
        for i, name in enumerate(names):
            answer = _command(manager, name, "load" if i % 2 else "unload", wait=60)
            assert answer.status_code == 200, answer.text
        took = time.monotonic() - began

    note("F9", f"32 threads of load and unload for {seconds} s", recovered_s=took, lost=0, remark=f"{outcomes}"[8:80])
    assert set(outcomes) <= LISTED, outcomes
    assert [manager.version(name)["state"] for name in names] == ["unloaded", "loaded"] * 2
    for name in names:
        manager.delete(f"/api/models/{name}/", params={"unload": "true"})


def _load(portal: RunningPortal, name: str, wait: float = 0) -> requests.Response:
    return portal.client().post(f"/api/models/{name}/load/", params={"wait": wait})


def _command(api: Api, name: str, verb: str, wait: float) -> requests.Response:
    if verb == "predict":
        return api.post(f"/api/models/{name}/predict/", json=asked())
    return api.post(f"/api/models/{name}/{verb}/", params={"wait": wait})


def _unloaded(portal: RunningPortal, name: str) -> Asked:
    return answered(lambda: portal.client().post(f"/api/models/{name}/unload/"))


def _count(api: Api, names: list[str], state: str) -> int:
    return [api.version(name)["state"] for name in names].count(state)
