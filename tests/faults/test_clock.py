"""The wall clock jumps by an hour: nothing is delivered again, nothing is declared dead.

The clock itself is the host's. What a jump does to the portal is that every moment in its rows is an hour away from
now: so the rows are moved instead, all of them, at once, while work is under way.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.faults.conftest import ADDER, Files
from tests.faults.figures import note
from tests.faults.invariants import is_answering, runners_by_pid, watched
from tests.faults.test_kills import ask_for_long
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

MOMENTS = {
    "django_q_ormq": ("lock",),
    "models_app_node": ("last_seen", "jobs_last_seen"),
    "models_app_instance": ("state_since", "created_at", "loaded_at"),
    "models_app_job": ("created_at", "started_at", "finished_at"),
    "models_app_modelversion": ("created_at",),
    "models_app_apikey": ("created_at", "last_used_at"),
}


@pytest.mark.parametrize("hours", [1, pytest.param(-1, marks=pytest.mark.long)])  # back: a minute until all is well
def test_f12_a_clock_that_jumps_by_an_hour_moves_nothing_else(
    faulty: RunningPortal, manager: Api, small_files: Files, hours: int
) -> None:
    name = f"timeless{hours}"
    manager.upload(name, small_files.adder(), **ADDER)
    before = runners_by_pid(faulty.data_dir)
    moves = _moves(faulty)

    with watched(faulty, "steady") as watch:
        answer = ask_for_long(faulty, "bench", seconds=6)
        with small_files.adder(2).open("rb") as file:  # a check is queued or runs meanwhile
            manager.post(f"/api/models/{name}/versions/", data=ADDER, files={"file": file})
        shift(faulty.data_dir, -hours)  # the clock goes on by an hour, so the rows are an hour older
        began = time.monotonic()
        wait_for(lambda: manager.get("/readyz").status_code == 200, 30, "ready")
        ready = time.monotonic() - began
        checked = manager.checked(name, 2)
        long_answer = answer()
        wait_for(lambda: time.monotonic() - began > 5 or None, 30, "some beats of the clusters")
        loaded = manager.load(name)

    note("F12", f"clock {hours:+d} h", recovered_s=ready, lost=len(watch.bystander.failures))
    assert long_answer.status == 200
    assert checked["status"] == "ready"
    assert is_answering(manager, name)
    after = runners_by_pid(faulty.data_dir)
    assert {pid: number for pid, number in after.items() if pid in before} == before, "no process was replaced"
    assert len(after) == len(before) + 1
    assert loaded["state"] == "loaded"
    new = _moves(faulty)[len(moves) :]
    assert [move[1] for move in new if move[0] != name] == [], "nothing but what was asked for"
    assert [move[1] for move in new if move[0] == name] == ["uploaded", "ready", "queued", "loading", "ready"]
    assert [job["state"] for version in (1, 2) for job in manager.version(name, version)["jobs"]] == ["done", "done"]
    manager.delete(f"/api/models/{name}/", params={"unload": "true"})


def shift(data_dir: Path, hours: int) -> None:
    """Move every moment in the rows by so many hours."""
    with sqlite3.connect(data_dir / "portal.sqlite3", timeout=20) as connection:
        for table, columns in MOMENTS.items():
            for column in columns:
                moved = f"strftime('%Y-%m-%d %H:%M:%S', {column}, '{hours:+d} hours') || substr({column}, 20)"
                connection.execute(f"UPDATE {table} SET {column} = {moved} WHERE {column} IS NOT NULL")
    connection.close()


def _moves(portal: RunningPortal) -> list[tuple[str, str]]:
    connection = sqlite3.connect(portal.data_dir / "portal.sqlite3", timeout=20)
    rows = connection.execute("SELECT model_name, after FROM models_app_transition ORDER BY id").fetchall()
    connection.close()
    return [(str(name), str(after)) for name, after in rows]
