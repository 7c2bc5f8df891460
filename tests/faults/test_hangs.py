"""A runner that hangs is killed past its deadline and replaced; one that cannot start is not tried for ever."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import RunningPortal, wait_for

pytestmark = pytest.mark.portal


def test_a_runner_that_hangs_costs_504_and_is_replaced(portal: RunningPortal, digit: Callable[[str], bytes]) -> None:
    api = portal.client()
    options = '{"predict_timeout_s":1}'
    api.upload("hangs", SAMPLE, labels=DIGIT_LABELS, preprocessing='{"preset":"unit"}', options=options)
    pid = api.load("hangs")["instances"][0]["pid"]

    os.kill(pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    answer = api.ask("hangs", digit("two"))
    took = time.monotonic() - stopped_at
    wait_for(lambda: api.ask("hangs", digit("two")).status_code == 200, 60, "the model answers again")
    back = time.monotonic() - stopped_at

    print(f"504 after {took:.1f} s, replaced and answering after {back:.1f} s")
    assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
    assert took < 10
    assert api.pid("hangs") != pid
    history = api.get("/api/models/hangs/versions/1/history/").json()["results"]
    assert any("stopped answering" in row["reason"] for row in history)
    api.delete("/api/models/hangs/", params={"unload": "true"})


def test_a_file_changed_on_disk_is_not_loaded(portal: RunningPortal) -> None:
    api = portal.client()
    version = api.upload("changed", SAMPLE, labels=DIGIT_LABELS)
    [stored] = [
        path for path in portal.data_dir.glob("models/*/source")
        if path.stat().st_mtime >= time.time() - 60 and path.read_bytes() == SAMPLE.read_bytes()
        and _key_of(portal, "changed") == path.parent.name
    ]  # fmt: skip
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)

    answer = api.post("/api/models/changed/load/", params={"wait": 60})

    assert version["status"] == "ready"
    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "not the one that was uploaded" in answer.json()["detail"]
    assert api.version("changed")["state"] == "failed"
    assert api.ask("changed", b"x").status_code == 503
    api.unload("changed")
    assert api.version("changed")["state"] == "unloaded"
    api.delete("/api/models/changed/")


def _key_of(portal: RunningPortal, name: str) -> str:
    code = f"from models_app.models import ModelVersion as V; print(V.objects.get(model__name={name!r}).file_key)"
    return portal.manage("shell", "--no-imports", "-c", code).stdout.strip()
