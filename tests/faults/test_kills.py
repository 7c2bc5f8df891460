"""Processes are killed, a portal is stopped under load: what was loaded comes back, once; nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import Api, RunningPortal, running_portal, wait_for

pytestmark = pytest.mark.portal

# A request that is still with the model when the signal comes: many rows, one after the other.
LONG = {"instances": [[[[1]] * 8] * 8] * 60_000}


@pytest.fixture(scope="module")
def portal_to_break(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    with running_portal(tmp_path_factory.mktemp("faults") / "data") as portal:
        api = portal.client()
        api.upload("slow", SAMPLE, labels=DIGIT_LABELS, options='{"max_batch":1}')
        api.checked("digits")
        yield portal


@pytest.fixture
def loaded(portal_to_break: RunningPortal) -> RunningPortal:
    """A portal with `slow` (one row a batch, so that a large request takes long) and `digits` loaded."""
    if not portal_to_break.is_running:
        portal_to_break.start()
    api = portal_to_break.client()
    api.load("slow")
    api.load("digits")
    return portal_to_break


def test_a_killed_runner_costs_its_request_and_comes_back_by_itself(
    loaded: RunningPortal, digit: Callable[[str], bytes]
) -> None:
    api = loaded.client()
    pid, other_pid = api.pid("slow"), api.pid("digits")
    asked = _ask_in_the_background(loaded, "slow")

    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    answer = asked()
    took = time.monotonic() - killed_at
    wait_for(lambda: _is_answering(api, "slow", digit("two")), 60, "the model is back")
    back = time.monotonic() - killed_at

    print(f"502 after {took:.2f} s, back after {back:.1f} s")
    assert (answer.status_code, answer.json()["code"]) == (502, "runner_died")
    assert took < 5
    assert api.pid("slow") != pid
    assert api.pid("digits") == other_pid
    assert len(loaded.runners()) == 2
    history = api.get("/api/models/slow/versions/1/history/").json()["results"]
    assert any("killed from outside" in row["reason"] for row in history if row["after"] == "restarting")


def test_a_killed_owner_takes_its_runner_along_and_is_replaced(
    loaded: RunningPortal, digit: Callable[[str], bytes]
) -> None:
    api = loaded.client()
    pid, other_pid = api.pid("slow"), api.pid("digits")
    owner = psutil.Process(pid).ppid()
    asked = _ask_in_the_background(loaded, "slow")

    os.kill(owner, signal.SIGKILL)
    killed_at = time.monotonic()
    wait_for(lambda: pid not in {p.pid for p in loaded.runners()} or None, 5, "the runner is gone with its owner")
    gone = time.monotonic() - killed_at
    answer = asked()
    wait_for(lambda: _is_answering(api, "slow", digit("two")), 60, "the model is back")

    print(f"runner gone after {gone:.2f} s, model back after {time.monotonic() - killed_at:.1f} s")
    assert answer.status_code in {502, 503}
    assert api.pid("digits") == other_pid
    assert len(loaded.runners()) == 2


@pytest.mark.parametrize("main", ["web", "jobs", "models"])
def test_a_killed_main_process_takes_its_tree_along_and_is_started_again(
    loaded: RunningPortal, digit: Callable[[str], bytes], main: str
) -> None:
    api = loaded.client()
    [process] = [child for child in psutil.Process(loaded.pid).children() if _is_main(child, main)]
    tree = [process, *process.children(recursive=True)]

    process.kill()
    killed_at = time.monotonic()
    wait_for(lambda: not any(_is_alive(p) for p in tree) or None, 10, "its tree is gone")
    gone = time.monotonic() - killed_at
    wait_for(lambda: api.get("/readyz").status_code == 200, 30, "ready again")
    for name in ("slow", "digits"):
        wait_for(lambda name=name: _is_answering(api, name, digit("two")), 60, f"{name} answers")

    print(
        f"{main}: tree of {len(tree)} gone after {gone:.2f} s, all answers after {time.monotonic() - killed_at:.1f} s"
    )
    assert len(loaded.runners()) == 2
    again = wait_for(
        lambda: [p for p in psutil.Process(loaded.pid).children() if _is_main(p, main)], 30, "started again"
    )
    assert process not in again


def test_after_kill_9_on_everything_the_next_start_loads_what_was_loaded_once(
    loaded: RunningPortal, digit: Callable[[str], bytes]
) -> None:
    loaded.kill_everything()
    wait_for(lambda: not loaded.processes() or None, 10, "nothing is left")

    loaded.start()
    api = loaded.client()
    first = api.ask("digits", digit("two"))
    for name in ("slow", "digits"):
        wait_for(lambda name=name: _is_answering(api, name, digit("two")), 60, f"{name} is back")

    assert first.status_code in {200, 409}, "nobody is told of a process that is gone"
    assert len(loaded.runners()) == 2
    status = api.get("/api/status/").json()
    assert sorted(version["model"] for version in status["loaded"]) == ["digits", "slow"]
    assert [len(version["instances"]) for version in status["loaded"]] == [1, 1]


def test_sigterm_under_load_ends_everything_in_time(loaded: RunningPortal, digit: Callable[[str], bytes]) -> None:
    is_over = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        api = loaded.client()
        while not is_over.is_set():
            try:
                statuses.append(api.ask("digits", digit("two")).status_code)
            except requests.RequestException:
                time.sleep(0.01)  # the portal is going down

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(statuses) > 50 or None, 30, "load")

    code, took = loaded.stop()
    is_over.set()
    for thread in threads:
        thread.join(30)

    print(f"stopped in {took:.1f} s under load; {len(statuses)} answers, {statuses.count(200)} of them 200")
    assert code == 0
    assert took < 35
    assert loaded.processes() == []
    assert _left_behind(loaded.data_dir) == []
    assert set(statuses) <= {200, 409, 502, 503}


def test_a_killed_idle_worker_does_not_stop_loads(new_portal: Callable[..., RunningPortal]) -> None:
    portal = new_portal(PORTAL_SLOTS="2")
    api = portal.client()
    api.checked("digits")
    idle = _workers(portal)
    for worker in idle:
        worker.kill()

    began = time.monotonic()
    api.load("digits")

    print(f"loaded {time.monotonic() - began:.1f} s after {len(idle)} idle workers were killed")
    assert len(portal.runners()) == 1


def _is_main(process: psutil.Process, main: str) -> bool:
    arguments = process.cmdline() if _is_alive(process) else []
    return "granian" in arguments if main == "web" else arguments[-2:] == ["run_cluster", main]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _workers(portal: RunningPortal) -> list[psutil.Process]:
    """The processes below the sentinel of the models cluster: workers, pusher, monitor."""
    mains = [
        p for p in portal.processes()
        if p.cmdline()[-2:] == ["run_cluster", "models"] and p.ppid() == portal.pid
    ]  # fmt: skip
    return [worker for main in mains for sentinel in main.children() for worker in sentinel.children()]


def _ask_in_the_background(portal: RunningPortal, name: str) -> Callable[[], requests.Response]:
    """Send the long request; returns once it is with the model. The result waits for the answer."""
    answers: list[requests.Response] = []
    api = portal.client()
    thread = threading.Thread(
        target=lambda: answers.append(api.post(f"/api/models/{name}/predict/", json=LONG, timeout=60))
    )
    pid = psutil.Process(api.pid(name))
    before = sum(pid.cpu_times()[:2])
    thread.start()
    wait_for(lambda: sum(pid.cpu_times()[:2]) > before + 0.05 or None, 60, "the request is with the model")

    def answer() -> requests.Response:
        thread.join(60)
        return answers[0]

    return answer


def _is_answering(api: Api, name: str, picture: bytes) -> bool:
    return api.ask(name, picture).status_code == 200


def _left_behind(data_dir: Path) -> list[str]:
    """Sockets, part-files and work folders in the data directory."""
    kinds = ("sockets/*", "uploads/*", "run/*")
    return sorted(str(path.relative_to(data_dir)) for kind in kinds for path in data_dir.glob(kind))
