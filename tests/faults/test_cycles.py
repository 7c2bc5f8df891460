"""Many loads and unloads: nothing grows."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

import psutil
import pytest

from tests.faults.conftest import ADDER, SCALE, Files
from tests.faults.figures import note
from tests.faults.invariants import is_answering, watched
from tests.faults.test_kills import is_alive, workers
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

SHORT, LONG = 20, 50 * SCALE
SLOTS, PUSHER_AND_MONITOR = 8, 2


@dataclass(frozen=True, slots=True)
class Size:
    """What the portal takes when nothing is under way."""

    processes: int
    descriptors: int
    memory_bytes: int
    sockets: int
    folders: int
    queue_rows: int
    instance_rows: int

    @classmethod
    def of(cls, portal: RunningPortal) -> Size:
        tree = [process for process in portal.processes() if "inference.runner" not in process.cmdline()]
        connection = sqlite3.connect(portal.data_dir / "portal.sqlite3", timeout=20)
        queue_rows, instance_rows = (
            int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
            for table in ("django_q_ormq", "models_app_instance")
        )
        connection.close()
        return cls(
            processes=len(tree),
            descriptors=sum(process.num_fds() for process in tree),
            memory_bytes=sum(_own_bytes(process) for process in tree),
            sockets=len(list((portal.data_dir / "sockets").glob("*"))),
            folders=len(list((portal.data_dir / "run").glob("*"))),
            queue_rows=queue_rows,
            instance_rows=instance_rows,
        )


@pytest.mark.parametrize("cycles", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
def test_f20_hundreds_of_loads_and_unloads_leave_no_growth(
    faulty: RunningPortal, manager: Api, small_files: Files, cycles: int
) -> None:
    manager.upload("cycled", small_files.adder(), **ADDER)
    _replace_workers_of_the_start(faulty, manager)

    with watched(faulty, "steady"):
        before = _settled(faulty)
        began = time.monotonic()
        _cycle(manager, cycles)
        each = (time.monotonic() - began) / cycles
        after = _settled(faulty)

    grown = after.memory_bytes - before.memory_bytes
    remark = f"{each:.2f} s each, memory {grown / 1e6:+.1f} MB, descriptors {after.descriptors - before.descriptors:+d}"
    note("F20", f"{cycles} cycles of load and unload", lost=0, remark=remark)
    assert grown < 25 * 10**6 + cycles * 20_000
    assert after.descriptors <= before.descriptors + 10
    assert (after.processes, after.sockets, after.folders) == (before.processes, before.sockets, before.folders)
    assert (after.queue_rows, after.instance_rows) == (before.queue_rows, before.instance_rows)
    manager.delete("/api/models/cycled/", params={"unload": "true"})


def _cycle(api: Api, count: int) -> None:
    for _ in range(count):
        api.load("cycled")
        assert is_answering(api, "cycled")
        receipt = api.unload("cycled")
        assert receipt["process_exited"] and not psutil.pid_exists(receipt["pids"][0])


def _replace_workers_of_the_start(portal: RunningPortal, api: Api) -> None:
    """They are smaller than those that stand in for them, and which of them takes a load is chance."""
    idle = [worker for worker in workers(portal) if not worker.children()]

    def are_replaced() -> bool:
        _cycle(api, 1)
        return sum(map(is_alive, idle)) <= PUSHER_AND_MONITOR

    wait_for(are_replaced, 60, "every idle worker of the start has had a load")


def _settled(portal: RunningPortal) -> Size:
    """Once as many processes are there as slots: a fresh worker stands in for each that has ended."""
    wait_for(lambda: sum(map(is_alive, workers(portal))) == SLOTS + PUSHER_AND_MONITOR, 30, "all workers are there")
    return Size.of(portal)


def _own_bytes(process: psutil.Process) -> int:
    """Private memory: what many processes share is not counted many times."""
    return int(process.memory_full_info().uss)
