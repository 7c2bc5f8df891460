"""Somebody holds the database: what is loaded answers, changes wait, and all heals when it is let go."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.faults.conftest import ADDER, BENCH, Files
from tests.faults.figures import note
from tests.faults.invariants import Asked, answered, ask, in_background, watched
from tests.faults.small_models import asked, work
from tests.running_portal import PASSWORD, Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute(f"BEGIN {sys.argv[2]}")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


@contextmanager
def held(data_dir: Path, how: str = "EXCLUSIVE") -> Iterator[None]:
    """Another process holds the database's write lock within this block."""
    command = [sys.executable, "-c", HOLDER, str(data_dir / "portal.sqlite3"), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        try:
            assert holder.stdout.readline() == "held\n"
            yield
        finally:
            holder.stdin.close()
            holder.wait(30)


def test_f10_while_the_database_is_held_predictions_go_on_and_changes_wait(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("patient", small_files.adder(), **ADDER)
    manager.upload("impatient", small_files.workbench, **BENCH, options='{"predict_timeout_s":1}')
    pid = manager.load("impatient")["instances"][0]["pid"]
    fresh = _fresh_key(faulty)  # its first use is to be written down
    hold_s = 8.0  # the owner of `impatient` would take a silence of 6 s for a hang

    with watched(faulty, "steady") as watch:
        with held(faulty.data_dir):
            began = time.monotonic()
            first = ask(fresh, "steady", asked())
            loading = in_background(lambda: _posted(faulty, "/api/models/patient/load/?wait=30"))
            answers = []
            while time.monotonic() - began < hold_s:
                answers.append(ask(fresh, "steady", asked()))
                answers.append(ask(fresh, "impatient", work()))
        let_go = time.monotonic()
        loaded = loading()
        healed = time.monotonic() - let_go

    slowest = max(answer.seconds for answer in (first, *answers))
    lost = len(watch.bystander.failures)
    remark = f"{len(answers)} answers meanwhile, the slowest {slowest * 1000:.0f} ms"
    note("F10", f"database held for {hold_s:.0f} s", recovered_s=healed, lost=lost, remark=remark)
    assert {answer.status for answer in (first, *answers)} == {200}
    assert slowest < 5
    assert loaded.status == 200
    assert manager.pid("impatient") == pid, "nothing was ended"
    for name in ("patient", "impatient"):
        manager.delete(f"/api/models/{name}/", params={"unload": "true"})


@pytest.mark.long
def test_f10_a_change_that_waits_too_long_is_a_503_and_all_heals(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("too-patient", small_files.adder(), **ADDER)

    with watched(faulty, "steady"):
        with held(faulty.data_dir, "IMMEDIATE"):
            began = time.monotonic()
            changes = [in_background(lambda: _posted(faulty, "/api/models/too-patient/load/")) for _ in range(3)]
            refused = [change() for change in changes]
            while time.monotonic() - began < 30:
                assert ask(manager, "steady", asked()).status == 200
        let_go = time.monotonic()
        manager.load("too-patient")
        healed = time.monotonic() - let_go
        wait_for(lambda: manager.get("/readyz").status_code == 200, 30, "ready")

    seconds = max(answer.seconds for answer in refused)
    note("F10", "database held for 30 s", recovered_s=healed, lost=0, remark=f"503 after {seconds:.0f} s")
    assert {(answer.status, answer.body["code"]) for answer in refused} == {(503, "unavailable")}
    manager.delete("/api/models/too-patient/", params={"unload": "true"})


@pytest.mark.long
def test_f10_a_file_whose_check_meets_a_held_database_is_not_rejected_for_it(
    faulty: RunningPortal, manager: Api
) -> None:
    fields = {"name": "undisturbed", "engine": "tensorflow", "labels": DIGIT_LABELS}
    with SAMPLE.open("rb") as file:
        manager.post("/api/models/", data=fields, files={"file": file})
    wait_for(lambda: faulty.children_at("inference.checking") or None, 60, "it is checked")

    with watched(faulty, "steady"):
        with held(faulty.data_dir):
            began = time.monotonic()
            while time.monotonic() - began < 30:
                assert ask(manager, "steady", asked()).status == 200
        let_go = time.monotonic()
        version = manager.checked("undisturbed")
        healed = time.monotonic() - let_go

    note("F10", "database held for 30 s during a check", recovered_s=healed, lost=0, remark=version["status"])
    assert (version["status"], version["status_detail"]) == ("ready", "")
    manager.delete("/api/models/undisturbed/")


def _fresh_key(portal: RunningPortal) -> Api:
    who = {"username": "admin", "password": PASSWORD, "scope": "predict"}
    answer = requests.post(f"{portal.url}/api/token/", json=who, timeout=30)
    assert answer.status_code == 201, answer.text
    return Api(portal.url, answer.json()["token"])


def _posted(portal: RunningPortal, address: str) -> Asked:
    return answered(lambda: portal.client().post(address))
