"""A warm spare: a process that has imported its engine and waits, walled in, for a model."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import pytest

from portal.datadir import socket_directory
from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = [pytest.mark.portal, pytest.mark.long]


def test_a_load_takes_the_spare_and_the_next_one_is_kept(
    new_portal: Callable[..., RunningPortal], digit: Callable[[str], bytes]
) -> None:
    portal = new_portal(PORTAL_WARM_SPARES="1", PORTAL_SLOTS="3")
    api: Api = portal.client("manage")
    api.checked("digits")
    [spare] = wait_for(portal.spares, 120, "a process is warm")

    [instance] = api.load("digits")["instances"]
    answer = api.ask("digits", digit("two")).json()["predictions"][0]["top"][0]["label"]
    [other] = wait_for(portal.spares, 120, "the next one is warm")

    print(f"digits in a warm process: loaded in {instance['load_seconds']:.2f} s")
    assert (instance["pid"], answer) == (spare.pid, "2")
    assert f"instance-{instance['id']}" in spare.cwd(), "its folders are the instance's now"
    assert other.pid != spare.pid
    assert instance["load_seconds"] < 15

    receipt = api.unload("digits")

    assert receipt["process_exited"] is True
    assert not spare.is_running()
    assert [path.name for path in (portal.data_dir / "run").glob("instance-*")] == []


def test_killed_spares_are_replaced_and_none_outlives_the_portal(new_portal: Callable[..., RunningPortal]) -> None:
    portal = new_portal(PORTAL_WARM_SPARES="1", PORTAL_SLOTS="2")
    [spare] = wait_for(portal.spares, 120, "a process is warm")

    worker = spare.parent()
    assert worker is not None
    worker.kill()
    wait_for(lambda: not spare.is_running() or spare.status() == psutil.STATUS_ZOMBIE, 10, "it dies with its worker")
    [other] = wait_for(portal.spares, 120, "another worker keeps one")
    assert len(list(socket_directory(portal.data_dir).glob("spare*.sock"))) == 1, "the dead one's is gone"
    code, _ = portal.stop()

    assert (code, other.is_running()) == (0, False)
    assert portal.runners() == []


def test_another_engine_or_a_number_of_threads_gets_a_fresh_process(new_portal: Callable[..., RunningPortal]) -> None:
    portal = new_portal(PORTAL_WARM_SPARES="1", PORTAL_SLOTS="2")
    api: Api = portal.client("manage")
    api.upload("threads", SAMPLE, labels=DIGIT_LABELS, engine="tensorflow", options='{"threads":1}')
    wait_for(portal.spares, 120, "a process is warm")
    pids = {process.pid for process in portal.runners()}

    loaded = api.load("threads")["instances"][0]["pid"]

    assert loaded not in pids
