"""Processes are killed, a portal is stopped under load: what was loaded comes back, once; nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import ADDER, Files
from tests.faults.figures import note
from tests.faults.invariants import BROKEN, REFUSED, Asked, ask, in_background, is_answering, runners_by_pid, watched
from tests.faults.small_models import ROUNDS_A_SECOND, asked, work
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal


def test_f1_a_killed_runner_costs_its_request_and_comes_back_by_itself(faulty: RunningPortal, manager: Api) -> None:
    pid = manager.pid("bench")

    with watched(faulty, "steady"):
        answer = ask_for_long(faulty, "bench")
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        lost = answer()
        took = time.monotonic() - killed_at
        wait_for(lambda: ask(manager, "bench", work()).status == 200, 60, "the model is back")
        back = time.monotonic() - killed_at

    note("F1", "kill -9 of a runner in mid-request", recovered_s=back, lost=1, remark=f"502 after {took:.2f} s")
    assert (lost.status, lost.body["code"]) == (502, "runner_died")
    assert took < 5
    assert manager.pid("bench") != pid
    history = manager.get("/api/models/bench/versions/1/history/").json()["results"]
    assert any("killed from outside" in row["reason"] for row in history if row["after"] == "restarting")


def test_f2_a_killed_owner_takes_its_runner_along_and_is_replaced(faulty: RunningPortal, manager: Api) -> None:
    pid = manager.pid("bench")

    with watched(faulty, "steady"):
        answer = ask_for_long(faulty, "bench")
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        killed_at = time.monotonic()
        wait_for(lambda: pid not in runners_by_pid(faulty.data_dir) or None, 5, "the runner is gone with its owner")
        gone = time.monotonic() - killed_at
        lost = answer()
        wait_for(lambda: ask(manager, "bench", work()).status == 200, 60, "the model is back")
        back = time.monotonic() - killed_at

    note("F2", "kill -9 of an owner", recovered_s=back, lost=1, remark=f"its runner gone after {gone:.2f} s")
    assert lost.status in {502, 503}


def test_f3_killed_idle_workers_do_not_stop_loads(faulty: RunningPortal, manager: Api, small_files: Files) -> None:
    manager.upload("after-idle", small_files.adder(), **ADDER)
    holders = {psutil.Process(pid).ppid() for pid in runners_by_pid(faulty.data_dir)}
    idle = [worker for worker in workers(faulty) if worker.pid not in holders]

    with watched(faulty, "steady"):
        for worker in idle:
            worker.kill()
        began = time.monotonic()
        manager.load("after-idle")
        took = time.monotonic() - began

    note("F3", f"kill -9 of {len(idle)} idle workers, then a load", recovered_s=took, lost=0)
    assert len(idle) > 3
    assert took < 60
    manager.delete("/api/models/after-idle/", params={"unload": "true"})


@pytest.mark.parametrize("main", ["web", "jobs", "models"])
def test_f4_a_killed_main_process_takes_its_tree_along_and_is_started_again(
    faulty: RunningPortal, manager: Api, main: str
) -> None:
    [process] = mains(faulty, main)
    tree = [process, *process.children(recursive=True)]

    with watched(faulty, "steady", may_be_away=main != "jobs") as watch:
        process.kill()
        killed_at = time.monotonic()
        wait_for(lambda: not any(is_alive(p) for p in tree) or None, 10, "its tree is gone")
        gone = time.monotonic() - killed_at
        again = wait_for(lambda: [p for p in mains(faulty, main) if p != process], 30, "started again")
        wait_for(lambda: manager.get("/readyz").status_code == 200, 60, "ready again")
        wait_for(lambda: is_answering(manager, "steady"), 60, "steady answers")
        wait_for(lambda: ask(manager, "bench", work()).status == 200, 60, "bench answers")
        back = time.monotonic() - killed_at

    remark = f"tree of {len(tree)} gone after {gone:.2f} s"
    lost = len(watch.bystander.failures)
    note("F4", f"kill -9 of the {main} main process", recovered_s=back, lost=lost, remark=remark)
    assert len(again) == 1


def test_f4_a_killed_serve_leaves_nobody_on_its_port_and_its_data(faulty: RunningPortal) -> None:
    tree = faulty.processes()
    psutil.Process(faulty.pid).kill()
    killed_at = time.monotonic()
    wait_for(lambda: not any(is_alive(process) for process in tree) or None, 10, "its tree is gone")
    gone = time.monotonic() - killed_at
    faulty.kill_everything()  # nothing is left: this takes in how it ended

    faulty.start()
    wait_for(lambda: is_answering(faulty.client(), "steady"), 60, "steady is back")
    wait_for(lambda: ask(faulty.client(), "bench", work()).status == 200, 60, "bench is back")
    back = time.monotonic() - killed_at

    note("F4", "kill -9 of serve", recovered_s=back, remark=f"tree of {len(tree)} gone after {gone:.2f} s")


def test_f4_after_kill_9_on_everything_the_next_start_loads_what_was_loaded_once(faulty: RunningPortal) -> None:
    faulty.kill_everything()
    wait_for(lambda: not faulty.processes() or None, 10, "nothing is left")

    began = time.monotonic()
    faulty.start()
    api = faulty.client()
    first = ask(api, "steady", asked())
    with watched(faulty, "steady", may_be_away=True):
        wait_for(lambda: is_answering(api, "steady"), 60, "steady is back")
        wait_for(lambda: ask(api, "bench", work()).status == 200, 60, "bench is back")
        back = time.monotonic() - began

    note("F4", "kill -9 of everything, then a start", recovered_s=back)
    assert first.status in {200, 409}, "nobody is told of a process that is gone"
    status = api.get("/api/status/").json()
    assert sorted(version["model"] for version in status["loaded"]) == ["bench", "steady"]
    assert [len(version["instances"]) for version in status["loaded"]] == [1, 1]


def test_f19_sigterm_under_load_ends_everything_in_time(faulty: RunningPortal) -> None:
    is_over = threading.Event()
    answers: list[Asked] = []

    def ask_on() -> None:
        api = faulty.client()
        while not is_over.is_set():
            answers.append(ask(api, "steady", asked()))
            is_over.wait(0.0 if answers[-1].status > 0 else 0.02)  # refused: the portal is going down

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answers) > 50 or None, 60, "load")

    code, took = faulty.stop()
    is_over.set()
    for thread in threads:
        thread.join(60)

    statuses = [answer.status for answer in answers]
    lost = len([status for status in statuses if status not in {REFUSED, 200}])
    note("F19", "SIGTERM to the whole portal under load", recovered_s=took, lost=lost, remark=f"of {len(statuses)}")
    assert code == 0
    assert took < 35
    assert faulty.processes() == []
    assert _left(faulty.data_dir) == []
    assert set(statuses) <= {REFUSED, BROKEN, 200, 409, 502, 503}


def ask_for_long(portal: RunningPortal, name: str, seconds: float = 10) -> Callable[[], Asked]:
    """Send a request that takes long; returns once it is with the model. The result waits for the answer."""
    api = portal.client()
    runner = psutil.Process(api.pid(name))
    before = sum(runner.cpu_times()[:2])
    answer = in_background(lambda: ask(portal.client(), name, work(rounds=int(seconds * ROUNDS_A_SECOND))))
    wait_for(lambda: sum(runner.cpu_times()[:2]) > before + 0.1 or None, 60, "the request is with the model")
    return answer


def mains(portal: RunningPortal, main: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(portal.pid).children() if _is_main(child, main)]


def _is_main(process: psutil.Process, main: str) -> bool:
    arguments = process.cmdline() if is_alive(process) else []
    return "run_web" in arguments if main == "web" else arguments[-2:] == ["run_cluster", main]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def workers(portal: RunningPortal) -> list[psutil.Process]:
    """The processes below the sentinel of the models cluster: workers, pusher, monitor."""
    mains = [
        p for p in portal.processes()
        if p.cmdline()[-2:] == ["run_cluster", "models"] and p.ppid() == portal.pid
    ]  # fmt: skip
    return [worker for main in mains for sentinel in main.children() for worker in sentinel.children()]


def _left(data_dir: Path) -> list[str]:
    """Sockets, part-files and work folders in the data directory."""
    kinds = ("sockets/*", "uploads/*", "run/*")
    return sorted(str(path.relative_to(data_dir)) for kind in kinds for path in data_dir.glob(kind))
