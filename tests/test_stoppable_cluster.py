"""The queue of a cluster, as its workers read it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from multiprocessing import Event
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django_q.cluster
import pytest

from models_app import stoppable_cluster
from models_app.stoppable_cluster import STOP, KillSafeQueue, StoppableSentinel
from tests.running_portal import ROOT


@pytest.fixture
def queue() -> KillSafeQueue:
    return KillSafeQueue()


def test_a_stale_task_is_passed_over_and_the_next_one_taken(
    queue: KillSafeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Any] = []
    monkeypatch.setattr(stoppable_cluster, "_is_stale", lambda task: task["args"][0] < 3)
    monkeypatch.setattr(stoppable_cluster, "acknowledge_at_start", lambda task: forgotten.append(task["args"][0]))
    for number in (1, 2, 3):
        queue.put({"args": (number, 0)})
    queue.put(STOP)

    assert queue.get() == {"args": (3, 0)}
    assert forgotten == [1, 2]
    assert queue.get() == STOP


def test_without_a_rule_every_task_is_taken(queue: KillSafeQueue) -> None:
    queue.put({"args": (1, 0)})

    assert queue.get() == {"args": (1, 0)}


def test_what_waits_is_passed_over_once_the_cluster_stops(
    queue: KillSafeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_read, stop_write = os.pipe()
    monkeypatch.setattr(stoppable_cluster, "_stop_read", stop_read)
    for number in (1, 2, 3):
        queue.put({"args": (number, 0)})
    queue.put(STOP)

    assert queue.get() == {"args": (1, 0)}
    os.close(stop_write)
    assert queue.get() == STOP


def test_a_queue_that_nobody_reads_any_more_is_not_waited_for(queue: KillSafeQueue) -> None:
    for _ in range(100):
        queue.put("x" * 10_000)

    began = time.monotonic()
    queue.close()
    queue.join_thread()

    assert time.monotonic() - began < 5


def test_every_worker_is_told_to_stop_once(queue: KillSafeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is dropped so that the pusher can end are tasks only: a worker that gets no STOP is waited for."""
    put, told = queue.put, []

    def tell_workers(sentinel: Any) -> None:
        for _ in range(3):
            sentinel.task_queue.put(STOP)
        time.sleep(0.3)

    sentinel: Any = object.__new__(StoppableSentinel)
    sentinel.event_out, sentinel.task_queue, sentinel.pusher = Event(), queue, SimpleNamespace()
    sentinel.pusher.is_alive = iter([True, True, False]).__next__
    put({"args": (1, 0)})
    monkeypatch.setattr(queue, "put", lambda item: (told.append(item), put(item)))
    monkeypatch.setattr(django_q.cluster.Sentinel, "stop", tell_workers)

    sentinel.stop()

    assert told == [STOP, STOP, STOP]
    assert [queue.get(), queue.get(), queue.get()] == [STOP, STOP, STOP]


SENTINEL_THAT_ENDS_AT_ONCE = """
import os, sys, time
import django
django.setup()
from models_app.stoppable_cluster import StoppableCluster

sentinel, (heard, said) = 0, os.pipe()

def come_late():  # until the process that forked is gone
    while sentinel and os.getppid() == sentinel:
        time.sleep(0.01)

os.register_at_fork(after_in_child=come_late)
StoppableCluster()
if os.fork() == 0:
    is_late = sys.argv[1] == "late"
    sentinel = os.getpid() if is_late else 0
    if os.fork() == 0:
        os.write(said, b"the worker lives")
    elif not is_late:
        os.wait()
    os._exit(0)
os.close(said)
print(os.read(heard, 100).decode())
"""


@pytest.mark.parametrize(("when", "says"), [("in time", "the worker lives"), ("late", "")])
def test_a_worker_whose_sentinel_ended_while_it_was_started_ends_too(tmp_path: Path, when: str, says: str) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "PORTAL_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SENTINEL_THAT_ENDS_AT_ONCE, when]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout.strip() == says


TOLD_TO_STOP = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from models_app.stoppable_cluster import StoppableCluster

call_command("migrate", verbosity=0)
cluster = StoppableCluster()

def stop():
    os.kill(os.getpid(), signal.SIGTERM)
    print(cluster.sentinel is None or cluster.sentinel.is_alive())

if sys.argv[1] == "early":
    stop()
cluster.run(60.0, stop)
print("stopped")
"""


@pytest.mark.parametrize("when", ["early", "in a beat"])
def test_a_cluster_that_is_told_to_stop_first_ends_what_it_does(tmp_path: Path, when: str) -> None:
    """While it is started, or in the middle of a transaction that owners wait for."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings", "PORTAL_DATA_DIR": str(tmp_path)}
    environment["Q_CLUSTER_NAME"] = "jobs"
    command = [sys.executable, "-c", TOLD_TO_STOP, when]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert (said.stdout.split(), said.stderr) == (["True", "stopped"], "")
