"""A runner that does all it can to harm: the host and the web stay well, and it is replaced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from inference.host.processes import ProcessIdentity, end_group, identify
from tests.faults.conftest import ADDER, Files
from tests.faults.figures import note
from tests.faults.hostile_portal import hostile_portal
from tests.faults.hostile_serving_acts import ACT
from tests.faults.invariants import Watch, ask, is_answering, watched
from tests.faults.small_models import asked
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, small_files: Files) -> Iterator[RunningPortal]:
    with hostile_portal(tmp_path_factory.mktemp("hostile"), PORTAL_SAMPLE="0", PORTAL_SLOTS="3") as portal:
        api = portal.client()
        for name in ("steady", "hostile"):
            api.upload(name, small_files.adder(), **ADDER, options='{"predict_timeout_s":10}')
        api.load("steady")
        yield portal


@pytest.fixture
def api(hostile: RunningPortal) -> Api:
    client = hostile.client()
    client.load("hostile")
    wait_for(lambda: is_answering(client, "hostile"), 60, "the runner behaves")
    return client


def test_f18_a_runner_that_floods_its_output_costs_no_memory_and_no_disk(hostile: RunningPortal, api: Api) -> None:
    owner = psutil.Process(psutil.Process(api.pid("hostile")).ppid())
    before = owner.memory_info().rss

    with watched(hostile, "steady") as watch:
        answer = ask(api, "hostile", asked(ACT["flood"]))

    grown = owner.memory_info().rss - before
    log = max((path.stat().st_size for path in (hostile.data_dir / "logs").glob("*")), default=0)
    lines = api.get("/api/models/hostile/versions/1/log/").json()["lines"]
    _note(watch, "floods its output for 3 s", 0, f"owner +{grown / 1e6:.1f} MB, log {log / 1e3:.0f} kB")
    assert answer.status == 200
    assert grown < 20 * 10**6
    assert log < 2 * 10**6 and len(lines) <= 200
    assert max(map(len, lines)) < 1100


@pytest.mark.long
def test_f18_a_runner_that_fills_its_folder_is_stopped_at_its_limit(hostile: RunningPortal, api: Api) -> None:
    free = psutil.disk_usage(str(hostile.data_dir)).free
    if free < 6 * 2**30:
        pytest.skip("less than 6 GiB are free here, and a runner may write 4")

    with watched(hostile, "steady") as watch:
        answer = ask(api, "hostile", asked(ACT["fill"]))
        filled = [path.stat().st_size for path in hostile.data_dir.glob("run/*/tmp/filling")]
    api.unload("hostile")

    _note(watch, "fills its folder", 1, f"{answer.status}, {sum(filled) / 1e9:.1f} GB, gone after its unload")
    assert answer.status in {502, 504}
    assert sum(filled) <= 4 * 2**30 + 2**20
    assert list(hostile.data_dir.glob("run/*/tmp/filling")) == []


@pytest.mark.parametrize("act", ["fork", "stranger"])
def test_f18_a_runner_starts_nothing_and_signals_nobody(hostile: RunningPortal, api: Api, act: str) -> None:
    pid = api.pid("hostile")

    with watched(hostile, "steady") as watch:
        answer = ask(api, "hostile", asked(ACT[act]))
        markers = list(hostile.data_dir.glob("run/*/tmp/marker"))

    _note(watch, f"tries to {'fork and exec' if act == 'fork' else 'signal others'}", 0, f"{answer.status}, denied")
    assert markers == []
    assert answer.status == 200
    assert api.pid("hostile") == pid


@pytest.mark.parametrize("act", ["garbage", "giant", "chatter"])
def test_f18_frames_without_sense_cost_their_request_only(hostile: RunningPortal, api: Api, act: str) -> None:
    web = hostile.web()
    before = sum(p.memory_info().rss for p in web)

    with watched(hostile, "steady") as watch:
        answer = ask(api, "hostile", asked(ACT[act]))
        began = time.monotonic()
        wait_for(lambda: is_answering(api, "hostile"), 60, "the model answers again")
        back = time.monotonic() - began

    grown = sum(p.memory_info().rss for p in web) - before
    what = {
        "garbage": "answers garbage",
        "giant": "announces a header of 4 GB",
        "chatter": "answers what nobody asked",
    }[act]
    _note(watch, what, 1, f"{answer.status} after {answer.seconds:.2f} s, web +{grown / 1e6:.0f} MB", back)
    assert (answer.status, answer.body["code"]) == (502, "runner_died")
    assert answer.seconds < 5
    assert grown < 100 * 10**6


def test_f18_nonsense_to_the_owner_ends_the_runner(hostile: RunningPortal, api: Api) -> None:
    pid = api.pid("hostile")

    with watched(hostile, "steady") as watch:
        ask(api, "hostile", asked(ACT["nonsense"]))
        began = time.monotonic()
        wait_for(lambda: is_answering(api, "hostile") and api.pid("hostile") != pid, 60, "it is replaced")
        back = time.monotonic() - began

    _note(watch, "tells its owner nonsense", 1, "replaced", back)
    history = api.get("/api/models/hostile/versions/1/history/").json()["results"]
    assert any("makes no sense" in row["reason"] for row in history)
    api.unload("hostile")


def test_f18_numbers_that_are_none_are_texts_in_the_answer(hostile: RunningPortal, api: Api) -> None:
    answer = ask(api, "hostile", asked(ACT["nan"]))

    assert answer.status == 200
    assert answer.body["predictions"][0]["outputs"][0]["data"][0] == ["NaN"] * 4


@pytest.mark.parametrize(("act", "word"), [("segfault", "signal 11"), ("leave", "code 5")])
def test_f14_a_crash_is_named_and_costs_its_request(hostile: RunningPortal, api: Api, act: str, word: str) -> None:
    with watched(hostile, "steady") as watch:
        answer = ask(api, "hostile", asked(ACT[act]))
        began = time.monotonic()
        wait_for(lambda: is_answering(api, "hostile"), 60, "the model answers again")
        back = time.monotonic() - began

    _note(watch, f"ends with {word}", 1, f"502 after {answer.seconds:.2f} s", back)
    assert (answer.status, answer.body["code"]) == (502, "runner_died")
    history = api.get("/api/models/hostile/versions/1/history/").json()["results"]
    assert any(word in row["reason"] for row in history)
    api.unload("hostile")


@pytest.mark.long
def test_f16_a_runner_that_never_starts_backs_off_then_fails_with_its_last_lines(
    hostile: RunningPortal, small_files: Files
) -> None:
    api = hostile.client()
    api.upload("stillborn", small_files.adder(), **ADDER, options='{"max_wait_ms":66}')

    with watched(hostile, "steady"):
        began = time.monotonic()
        answer = api.post("/api/models/stillborn/load/", params={"wait": 100})
        took = time.monotonic() - began

    detail = answer.json()["detail"]
    rows = api.get("/api/models/stillborn/versions/1/history/").json()["results"]
    note("F16", "a process that ends before it is ready", recovered_s=took, lost=0, remark="failed after 5 tries")
    assert (answer.status_code, answer.json()["code"]) == (502, "load_failed")
    assert "could not be started 5 times" in detail and "I do not want to start" in detail
    tries = [row["reason"] for row in rows if row["after"] == "restarting"]
    assert [reason.split("Next try in ")[1] for reason in reversed(tries)] == [
        f"{seconds} s, try {number} of 5." for number, seconds in ((2, 1), (3, 2), (4, 4), (5, 8))
    ]
    assert took > 14
    began_again = api.post("/api/models/stillborn/load/")
    assert began_again.status_code == 202, "a click starts again"
    api.delete("/api/models/stillborn/", params={"unload": "true"})


def test_f17_a_socket_of_another_life_and_a_pid_of_somebody_else_do_no_harm(
    hostile: RunningPortal, small_files: Files, tmp_path: Path
) -> None:
    api = hostile.client()
    api.unload("hostile")
    stranger = identify(os.getpid())
    assert stranger is not None
    end_group(ProcessIdentity(stranger.pid, stranger.started_at - 1, stranger.boot_id), 0)  # would end this test

    with watched(hostile, "steady"):
        for name in ("i1.ctl", "i2.ctl", "i3.ctl"):
            path = hostile.data_dir / "sockets" / name
            if not path.exists():
                path.touch()
        began = time.monotonic()
        api.load("hostile")
        took = time.monotonic() - began
        assert is_answering(api, "hostile")
        api.unload("hostile")
        for path in (hostile.data_dir / "sockets").glob("i*.ctl"):
            if path.is_file():
                path.unlink()

    note("F17", "stale socket, reused pid", recovered_s=took, lost=0)


def _note(watch: Watch, what: str, lost: int, remark: str, back: float | None = None) -> None:
    note("F18", f"a runner that {what}", recovered_s=back, lost=lost, remark=remark)
