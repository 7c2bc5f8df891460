"""Inference that does not end is cut off at its limit and its process replaced; a changed file is not loaded."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import ADDER, BENCH, Files
from tests.faults.figures import note
from tests.faults.invariants import ask, is_answering, watched
from tests.faults.small_models import ENDLESS, work
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal


def test_f15_inference_that_hangs_is_a_504_and_its_process_is_replaced(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("endless", small_files.workbench, **BENCH, options='{"predict_timeout_s":1}')
    pid = manager.load("endless")["instances"][0]["pid"]

    with watched(faulty, "steady"):
        answer = ask(manager, "endless", work(rounds=ENDLESS))
        began = time.monotonic()
        wait_for(lambda: ask(manager, "endless", work()).status == 200, 60, "the model answers again")
        back = time.monotonic() - began

    note("F15", "inference without an end", recovered_s=back, lost=1, remark=f"504 after {answer.seconds:.1f} s")
    assert (answer.status, answer.body["code"]) == (504, "timeout")
    assert answer.seconds < 10
    assert manager.pid("endless") != pid
    history = manager.get("/api/models/endless/versions/1/history/").json()["results"]
    assert any("did not finish a prediction" in row["reason"] for row in history)
    manager.delete("/api/models/endless/", params={"unload": "true"})


def test_f15_a_process_that_is_silent_is_a_504_and_replaced(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    manager.upload("silent", small_files.workbench, **BENCH, options='{"predict_timeout_s":1}')
    pid = manager.load("silent")["instances"][0]["pid"]

    with watched(faulty, "steady"):
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        answer = ask(manager, "silent", work())
        wait_for(lambda: ask(manager, "silent", work()).status == 200, 60, "the model answers again")
        back = time.monotonic() - began

    note("F15", "a process that is stopped", recovered_s=back, lost=1, remark=f"504 after {answer.seconds:.1f} s")
    assert (answer.status, answer.body["code"]) == (504, "timeout")
    assert answer.seconds < 10
    history = manager.get("/api/models/silent/versions/1/history/").json()["results"]
    assert any("stopped answering" in row["reason"] for row in history)
    manager.delete("/api/models/silent/", params={"unload": "true"})


def test_f6_a_wrong_file_is_rejected_with_a_sentence_and_harms_nobody(
    faulty: RunningPortal, manager: Api, tmp_path: Path, small_files: Files
) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(small_files.adder().read_bytes()[:-40])
    manager.upload("with-a-bad-one", small_files.adder(), **ADDER)
    manager.load("with-a-bad-one")

    with watched(faulty, "with-a-bad-one"):
        with broken.open("rb") as file:
            address = "/api/models/with-a-bad-one/versions/"
            assert manager.post(address, data=ADDER, files={"file": file}).status_code in {201, 400}
        version = manager.checked("with-a-bad-one", 2)
        answer = manager.post("/api/models/with-a-bad-one/versions/2/load/", params={"wait": 30})

    note("F6", "a damaged file", lost=0, remark=version["status_detail"][:60])
    assert version["status"] == "rejected"
    assert version["status_detail"].endswith(".")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")
    manager.delete("/api/models/with-a-bad-one/", params={"unload": "true"})


def test_f6_a_file_changed_on_disk_is_not_loaded_and_what_served_goes_on(
    faulty: RunningPortal, manager: Api, small_files: Files
) -> None:
    before = {path.parent.name for path in faulty.data_dir.glob("models/*/source")}
    manager.upload("changed", small_files.adder(), **ADDER)
    [key] = {path.parent.name for path in faulty.data_dir.glob("models/*/source")} - before
    manager.load("changed")
    damage(faulty.data_dir / "models" / key / "source")

    with watched(faulty, "changed"):
        assert is_answering(manager, "changed"), "what is loaded does not read the store"
        manager.post("/api/models/changed/load/", params={"instances": 2, "wait": 30})
        wait_for(lambda: "failed" in _states(manager, "changed"), 30, "the second copy is refused")

    manager.unload("changed")
    answer = manager.post("/api/models/changed/load/", params={"wait": 60})
    note("F6", "a file changed on disk", lost=0)
    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "not the one that was uploaded" in answer.json()["detail"]
    assert manager.version("changed")["state"] == "failed"
    assert ask(manager, "changed", work()).status == 503
    manager.unload("changed")
    assert manager.version("changed")["state"] == "unloaded"
    manager.delete("/api/models/changed/")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _states(api: Api, name: str) -> list[str]:
    """Of all instances; a version shows live ones, so a failed one is seen in the history."""
    rows = api.get(f"/api/models/{name}/versions/1/history/").json()["results"]
    return [row["after"] for row in rows]
