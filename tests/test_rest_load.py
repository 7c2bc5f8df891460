"""Load and unload over REST: what waits, what is idempotent, what is in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

NAME = "carried"
V1 = f"/api/models/{NAME}/versions/1/"
RECEIPT_KEYS = {
    "model", "version", "state", "pids", "process_exited", "seconds", "memory_freed_bytes", "device_memory_freed_bytes",
    "drained_requests", "failed_requests",
}  # fmt: skip
INSTANCE_KEYS = {
    "id", "node", "device", "pid", "engine", "precision", "state", "memory_bytes", "device_memory_bytes",
    "device_memory_estimated", "loaded_at", "load_seconds", "requests", "errors", "sandbox",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def carried(portal: RunningPortal) -> Iterator[None]:
    api = portal.client("manage")
    api.upload(NAME, SAMPLE, labels=DIGIT_LABELS, preprocessing='{"preset": "unit"}')
    yield
    api.delete(f"/api/models/{NAME}/", params={"unload": "true"})


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"wait": -1}, "wait"),
        ({"wait": 120.5}, "wait"),
        ({"wait": "nan"}, "wait"),
        ({"wait": "soon"}, "wait"),
        ({"wait": True}, "wait"),
        ({"wait": [1]}, "wait"),
        ({"instances": 0}, "instances"),
        ({"instances": 1.5}, "instances"),
        ({"instances": 65}, "instances"),
    ],
)
def test_a_wish_out_of_bounds_is_a_400_and_loads_nothing(api: Api, wish: dict[str, object], field: str) -> None:
    in_body = api.post(f"{V1}load/", json=wish)

    assert in_body.status_code == 400
    assert list(in_body.json()["fields"]) == [field]
    assert api.version(NAME)["state"] == "unloaded"
    if field == "wait":
        assert api.post(f"{V1}unload/", json=wish).status_code == 400
        assert api.post(f"{V1}unload/", params={"wait": 0}, json=wish).status_code == 400
    if not isinstance(wish[field], (bool, list)):
        assert api.post(f"{V1}load/", params=wish).status_code == 400


def test_unloading_what_is_not_loaded_is_a_receipt_of_nothing(api: Api) -> None:
    for address in (f"/api/models/{NAME}/unload/", f"{V1}unload/"):
        answer = api.post(address)
        assert answer.status_code == 200
        assert set(answer.json()) == RECEIPT_KEYS
        assert (answer.json()["pids"], answer.json()["seconds"], answer.json()["state"]) == ([], 0, "unloaded")


def test_there_is_nothing_to_load_under_an_unknown_name(api: Api) -> None:
    for verb in ("load", "unload", "predict"):
        for address in (f"/api/models/no-such/{verb}/", f"/api/models/{NAME}/versions/9/{verb}/"):
            assert api.post(address).json()["code"] == "not_found"


def test_what_is_loaded_can_be_asked_but_neither_changed_nor_deleted(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes]
) -> None:
    not_loaded = api.ask(NAME, digit("seven"))
    on_the_way = api.post(f"/api/models/{NAME}/load/")
    early = api.ask(NAME, digit("seven"))
    early_elsewhere = [api.post(f"/v2/models/{NAME}/infer"), api.post(f"/v1/models/{NAME}:predict")]
    loaded = api.post(f"{V1}load/", json={"wait": 120})
    again = api.post(f"/api/models/{NAME}/load/", data={"wait": "5"})
    began = time.monotonic()
    refused = [
        api.patch(V1, json={"labels": None}),
        api.delete(V1),
        api.delete(f"/api/models/{NAME}/"),
        api.post(f"{V1}trust/", json={"reason": "mine"}),
    ]
    pid = loaded.json()["instances"][0]["pid"]

    assert (not_loaded.status_code, not_loaded.json()["code"]) == (409, "not_loaded")
    assert on_the_way.status_code == 202
    assert on_the_way.json()["state"] in {"queued", "loading"}
    assert (early.status_code, early.json()["code"]) == (409, "not_loaded")
    for answer in early_elsewhere:
        assert (answer.status_code, list(answer.json()), answer.headers["Retry-After"]) == (503, ["error"], "2")
    assert loaded.status_code == again.status_code == 200
    assert (loaded.json()["state"], len(loaded.json()["instances"])) == ("loaded", 1)
    assert set(loaded.json()["instances"][0]) == INSTANCE_KEYS
    assert again.json()["instances"][0]["pid"] == pid
    assert [answer.json()["code"] for answer in refused] == ["in_use"] * 4
    assert [answer.status_code for answer in refused] == [409] * 4
    assert time.monotonic() - began < 5
    assert NAME in [version["model"] for version in api.get("/api/status/").json()["loaded"]]
    assert NAME in [m["name"] for m in api.get("/api/models/", params={"state": "loaded"}).json()["results"]]

    receipt = api.post(f"{V1}unload/").json()

    assert set(receipt) == RECEIPT_KEYS
    assert (receipt["pids"], receipt["process_exited"], receipt["version"]) == ([pid], True, 1)
    assert receipt["memory_freed_bytes"] > 100_000_000
    assert pid not in [process.pid for process in portal.runners()]
    reasons = [event["after"] for event in api.get(f"{V1}history/").json()["results"]]
    assert reasons[:5] == ["stopped", "unloading", "ready", "loading", "queued"]
    assert api.get(f"{V1}log/").json()["lines"] == api.get(f"{V1}log/").json()["lines"][-200:]


def test_an_unload_that_does_not_wait_is_a_202_and_a_deletion_may_unload_first(portal: RunningPortal, api: Api) -> None:
    api.post(
        "/api/models/", data={"name": "brief", "engine": "tensorflow"}, files={"file": ("x.keras", SAMPLE.read_bytes())}
    )
    api.checked("brief")
    loaded = api.load("brief")
    folder = set((portal.data_dir / "models").iterdir())

    deleted = api.delete("/api/models/brief/versions/1/", params={"unload": "true"})

    assert deleted.status_code == 204
    assert loaded["instances"][0]["pid"] not in [process.pid for process in portal.runners()]
    assert len(folder - set((portal.data_dir / "models").iterdir())) == 1
    assert api.get("/api/models/brief/").json()["versions"] == []
    nothing = api.post("/api/models/brief/unload/")
    assert (nothing.status_code, nothing.json()["pids"]) == (200, [])
    assert api.post("/api/models/brief/load/").json()["code"] == "not_ready"
    assert api.post("/api/models/brief/predict/", json={"instances": [1]}).json()["code"] == "not_loaded"
    assert api.delete("/api/models/brief/").status_code == 204


def test_an_unload_cancels_a_load_that_is_on_the_way(api: Api) -> None:
    api.post(f"{V1}load/")

    first = api.post(f"{V1}unload/", params={"wait": 0})
    if first.status_code == 202:
        assert first.json()["state"] in {"unloading", "unloaded"}
    unloaded = wait_for(
        lambda: answer if (answer := api.post(f"{V1}unload/")).status_code == 200 else None, 60, "unloaded"
    )

    assert unloaded.json()["state"] == "unloaded"
    assert api.version(NAME)["state"] == "unloaded"


def test_who_waits_for_a_load_is_told_that_an_unload_cancelled_it(api: Api) -> None:
    answer = cancelled(api, f"{V1}load/")
    over_v2 = cancelled(api, f"/v2/repository/models/{NAME}/load")

    assert (answer.status_code, answer.json()["code"]) == (409, "not_loaded")
    assert "cancelled" in answer.json()["detail"]
    assert (over_v2.status_code, "cancelled" in over_v2.json()["error"]) == (400, True)


def cancelled(api: Api, address: str) -> requests.Response:
    """The answer to a load that is unloaded while it is on its way."""
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(api.post, address, params={"wait": 60})
        wait_for(lambda: api.version(NAME)["state"] in {"queued", "loading"}, 60, "the load is on its way")
        api.unload(NAME)
        return waits.result()


def test_a_file_that_changed_on_disk_fails_the_load_with_a_sentence(
    portal: RunningPortal, api: Api, tmp_path: Path
) -> None:
    before = set((portal.data_dir / "models").iterdir())
    path = tmp_path / "same.keras"
    path.write_bytes(SAMPLE.read_bytes())
    api.upload("damaged-later", path)
    (folder,) = set((portal.data_dir / "models").iterdir()) - before
    with (folder / "source").open("r+b") as file:
        file.seek(2000)
        file.write(b"\xff")

    answer = api.post("/api/models/damaged-later/load/", params={"wait": 60})

    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "not the one that was uploaded" in answer.json()["detail"]
    assert api.version("damaged-later")["state"] == "failed"
    assert api.delete("/api/models/damaged-later/").status_code == 204
