"""Loads, queues and cancellations as a REST client sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import Api, RunningPortal, running_portal, wait_for

pytestmark = pytest.mark.portal


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """A portal with one slot and four checked models."""
    with running_portal(tmp_path_factory.mktemp("small") / "data", PORTAL_SLOTS="1") as portal:
        api = portal.client()
        for name in ("a", "b", "c"):
            with SAMPLE.open("rb") as file:
                api.post(
                    "/api/models/",
                    data={"name": name, "labels": DIGIT_LABELS, "engine": "tensorflow"},
                    files={"file": file},
                )
        for name in ("a", "b", "c", "digits"):
            api.checked(name)
        yield portal


def test_what_finds_no_slot_waits_and_says_its_place(small: RunningPortal) -> None:
    api = small.client()
    api.load("a")
    first = api.post("/api/models/b/load/")
    second = api.post("/api/models/c/load/")

    assert (first.status_code, first.json()["state"], first.json()["state_detail"]) == (202, "queued", "place 1 of 1")
    assert second.json()["state_detail"] == "place 2 of 2"
    assert api.get("/api/status/").json()["nodes"][0]["slots_free"] == 0

    cancelled = api.unload("b")
    api.unload("a")
    wait_for(lambda: api.version("c")["state"] == "loaded", 60, "the next in the queue is loaded")

    assert cancelled["pids"] == []
    assert api.version("b")["state"] == "unloaded"
    assert len(small.runners()) == 1
    api.unload("c")


def test_loads_of_the_same_version_in_the_same_moment_make_one_process(small: RunningPortal) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: small.client().post("/api/models/a/load/?wait=60"), range(8)))
    api = small.client()

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["instances"][0]["pid"] for answer in answers}) == 1
    assert len(small.runners()) == 1
    assert api.load("a")["instances"][0]["pid"] == answers[0].json()["instances"][0]["pid"], "a load is idempotent"
    api.unload("a")
    assert api.unload("a") | {"seconds": 0} == {
        "model": "a", "version": 1, "state": "unloaded", "pids": [], "process_exited": True, "seconds": 0,
        "memory_freed_bytes": 0, "device_memory_freed_bytes": None, "drained_requests": 0, "failed_requests": 0,
    }  # fmt: skip


def test_a_load_that_is_still_loading_can_be_cancelled(small: RunningPortal) -> None:
    api = small.client()
    api.post("/api/models/b/load/")
    wait_for(lambda: small.runners() or None, 20, "the process is there")

    receipt = api.unload("b")

    assert receipt["process_exited"] is True
    assert small.runners() == []
    assert api.version("b")["state"] == "unloaded"


def test_a_new_version_does_not_replace_what_serves(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes]
) -> None:
    api.upload("grows", SAMPLE, labels=DIGIT_LABELS, preprocessing='{"preset":"unit"}')
    api.load("grows")
    with SAMPLE.open("rb") as file:
        api.post("/api/models/grows/versions/", data={"labels": DIGIT_LABELS}, files={"file": file})
    before = api.ask("grows", digit("two")).json()["version"]
    api.checked("grows", 2)
    api.load("grows")  # without a version: the newest ready one

    after = api.ask("grows", digit("two")).json()["version"]
    old = api.post("/api/models/grows/versions/1/predict/", files={"image": digit("two")}).json()["version"]

    assert (before, after, old) == (1, 2, 1)
    assert {api.version("grows", n)["state"] for n in (1, 2)} == {"loaded"}
    receipt = api.unload("grows")
    assert (len(receipt["pids"]), receipt["version"]) == (2, None)
    api.delete("/api/models/grows/")


def test_several_instances_of_one_version_share_it(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes]
) -> None:
    api.upload("twice", SAMPLE, labels=DIGIT_LABELS, preprocessing='{"preset":"unit"}')
    loaded = api.load("twice", instances=2)

    answers = [api.ask("twice", digit("two")).json()["predictions"][0]["top"][0]["label"] for _ in range(4)]

    assert len({instance["pid"] for instance in loaded["instances"]}) == 2
    assert answers == ["2"] * 4
    api.delete("/api/models/twice/", params={"unload": "true"})


def test_a_portal_where_much_waits_stops_in_order_and_goes_on_with_it(tmp_path: Path) -> None:
    """Loads, loads that were cancelled while the only slot was taken (their tasks fill a pipe), and checks."""
    with running_portal(tmp_path / "data", PORTAL_SLOTS="1") as portal:
        api = portal.client()
        api.checked("digits")
        api.load("digits")
        api.upload("waiting", SAMPLE)
        for _ in range(6):
            api.post("/api/models/waiting/load/", json={"instances": 60})
            api.post("/api/models/waiting/unload/")
        api.post("/api/models/waiting/load/", json={"instances": 60})
        for number in range(6):
            data, files = (
                {"name": f"check-{number}", "engine": "tensorflow"},
                {"file": (SAMPLE.name, SAMPLE.read_bytes())},
            )
            assert api.post("/api/models/", data=data, files=files).status_code == 201
        assert _queued(api, "waiting") == 60

        with ThreadPoolExecutor(1) as threads:
            waits = threads.submit(portal.client().post, "/api/models/waiting/load/?wait=60", json={"instances": 61})
            wait_for(lambda: _queued(api, "waiting") == 61, 30, "a client waits for its load")
            code, seconds = portal.stop()
            answer = waits.result()

        print(f"stopped in {seconds:.1f} s")
        assert code == 0
        assert "is killed" not in portal.log(), portal.log()[-2000:]
        assert (answer.status_code, answer.json()["state"]) == (202, "queued")
        assert seconds < 12  # a web process gives requests under way 15 s

        portal.start()
        for number in range(6):
            api.checked(f"check-{number}")


def _queued(api: Api, name: str) -> int:
    return [instance["state"] for instance in api.version(name)["instances"]].count("queued")
