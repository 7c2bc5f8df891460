"""The disk is full: what is sent is refused and leaves nothing, what is loaded answers, and all heals with room."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.faults import small_models
from tests.faults.conftest import ADDER, Files
from tests.faults.figures import note
from tests.faults.invariants import answered, ask, in_background, is_answering, watched
from tests.faults.small_models import asked
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

UPLOAD_BYTES = 40 * 10**6


@pytest.fixture
def disk(disk_of_faults: tuple[Path, bool]) -> Path:
    folder, is_small = disk_of_faults
    if not is_small:
        pytest.skip("a small disk cannot be mounted here, and a large one is not filled by a test")
    return folder


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not one byte is free within this block."""
    path = disk / "filling"
    try:
        forget_log(disk / "data" / "portal.sqlite3")
        fill(path)
        yield
    finally:
        path.unlink(missing_ok=True)


def forget_log(database: Path) -> None:
    """Cut the database's write-ahead log: what is free in it would take changes although the disk is full."""
    connection = sqlite3.connect(database, timeout=20, isolation_level=None)
    wait_for(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 30, "the log is cut")
    connection.close()


def fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (2**20, 4096):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC


def test_f11_a_disk_that_fills_during_an_upload_is_a_507_and_leaves_no_file(
    faulty: RunningPortal, manager: Api, disk: Path
) -> None:
    is_full = threading.Event()
    fields = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\ntoo-much\r\n'
    head = fields + b'--b\r\nContent-Disposition: form-data; name="file"; filename="m.onnx"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        yield os.urandom(10**6)
        is_full.wait(60)
        for _ in range(UPLOAD_BYTES // 10**6 - 1):
            yield os.urandom(10**6)
        yield b"\r\n--b--\r\n"

    with watched(faulty, "steady"):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        url = "/api/models/"
        sending = in_background(lambda: answered(lambda: manager.post(url, data=body(), headers=headers)))
        wait_for(lambda: list((faulty.data_dir / "uploads").glob("*")), 30, "the upload has begun")
        with filled(disk):
            is_full.set()
            answer = sending()
            free_after = os.statvfs(disk).f_bavail
            assert is_answering(manager, "steady")

    note("F11", "disk full during an upload", lost=1, remark=f"507 after {answer.seconds:.1f} s")
    assert (answer.status, answer.body["code"]) == (507, "disk_full")
    assert list((faulty.data_dir / "uploads").glob("*")) == []
    assert free_after > 0, "what was written of it is gone"
    assert manager.get("/api/models/too-much/").status_code == 404


def test_f11_a_file_that_does_not_fit_when_it_is_unpacked_is_refused_with_a_sentence(
    faulty: RunningPortal, manager: Api, disk: Path, tmp_path: Path, small_files: Files
) -> None:
    huge = small_models.swollen(
        tmp_path / "huge.tar.gz", small_files.adder(), noise_bytes=20 * 2**20, zero_bytes=320 * 2**20
    )

    with watched(faulty, "steady"):
        version = manager.upload("unfolds", huge, **ADDER)
        if version["status"] == "ready":
            answer = manager.post("/api/models/unfolds/load/", params={"wait": 60})
            sentence = answer.json()["detail"]
            assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
        else:
            sentence = version["status_detail"]

    note("F11", "an archive larger than the disk", lost=0, remark=sentence[:70])
    assert "disk" in sentence and str(disk) not in sentence
    assert manager.delete("/api/models/unfolds/", params={"unload": "true"}).status_code == 204


def test_f11_with_a_full_disk_what_is_loaded_answers_and_changes_are_a_507_until_there_is_room(
    faulty: RunningPortal, manager: Api, disk: Path, small_files: Files
) -> None:
    manager.upload("no-room", small_files.adder(), **ADDER)

    with watched(faulty, "steady") as watch:
        with filled(disk):
            began = time.monotonic()
            changes: list[requests.Response] = []
            while time.monotonic() - began < 6:
                assert ask(manager, "steady", asked()).status == 200
                changes.append(manager.patch("/api/models/no-room/", json={"description": "x" * 9000}))
            loading = manager.post("/api/models/no-room/load/", params={"wait": 5})
            with small_files.adder().open("rb") as file:
                upload = manager.post("/api/models/", data={"name": "later"}, files={"file": file})
        room = time.monotonic()
        wait_for(lambda: _is_loaded(manager, "no-room"), 60, "it can be loaded again")
        healed = time.monotonic() - room

    refused = {answer.json()["code"] for answer in changes if answer.status_code != 200}
    remark = f"load: {loading.status_code}, upload: {upload.status_code}"
    note("F11", "disk full, then room", recovered_s=healed, lost=len(watch.bystander.failures), remark=remark)
    assert refused == {"disk_full"}
    assert (upload.status_code, upload.json()["code"]) == (507, "disk_full")
    assert loading.status_code in {202, 502, 507}
    assert loading.status_code != 502 or "disk is full" in loading.json()["detail"]
    manager.delete("/api/models/no-room/", params={"unload": "true"})


def _is_loaded(api: Api, name: str) -> bool:
    return api.post(f"/api/models/{name}/load/", params={"wait": 10}).status_code == 200
