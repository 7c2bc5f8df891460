"""What a worker left that was killed is taken up again: by one who looks, and to nobody else's harm."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from inference.host.processes import ProcessIdentity, identify, is_alive
from inference.workspace import Workspace
from models_app.choices import InstanceState, JobKind, JobState
from models_app.models import Instance, Job, Node
from models_app.services import jobs, supervise
from models_app.services.dispatch import claim
from models_app.services.nodes import this_node
from models_app.services.reconcile import recover_abandoned
from portal import first_start
from portal.serve import Portal
from tests.registry import make_version

pytestmark = pytest.mark.django_db(transaction=True)
OF_AN_EARLIER_BOOT = {"owner_pid": 1, "owner_started_at": 1, "pid": 1, "pid_started_at": 1, "boot_id": "earlier"}


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_DATA_DIR = tmp_path
    for name in ("RUN", "SOCKETS"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, f"PORTAL_{name}_DIR", folder)


def test_what_is_queued_again_names_no_process_and_leaves_no_files(settings: Any) -> None:
    instance = abandoned(InstanceState.READY)
    Instance.objects.filter(pk=instance.pk).update(memory_bytes=5)
    folder, socket = files_of(settings, instance)

    assert recover_abandoned(this_node()) == 1

    instance.refresh_from_db()
    assert (instance.state, instance.generation) == (InstanceState.QUEUED, 2)
    assert (instance.pid, instance.socket, instance.memory_bytes) == (None, "", None)
    assert not folder.root.exists() and not socket.exists()


def test_what_was_to_be_unloaded_is_stopped_and_leaves_no_files(settings: Any) -> None:
    instance = abandoned(InstanceState.UNLOADING)
    Instance.objects.filter(pk=instance.pk).update(memory_bytes=5, device="gpu:0", device_memory_bytes=7)
    folder, socket = files_of(settings, instance)

    assert recover_abandoned(this_node()) == 1

    instance.refresh_from_db()
    assert instance.state == InstanceState.STOPPED
    assert instance.receipt == {
        "pids": [1], "seconds": 0, "memory_freed_bytes": 5, "device_memory_freed_bytes": 7,
        "drained_requests": 0, "failed_requests": 0,
    }  # fmt: skip
    assert not folder.root.exists() and not socket.exists()


def test_of_two_who_take_up_the_slower_one_leaves_the_new_owner_its_files(settings: Any) -> None:
    """The slower one still has the list that it read before the faster one handed out and another claimed."""
    _, second = abandoned(InstanceState.READY), abandoned(InstanceState.READY)
    made: list[tuple[Workspace, Path]] = []

    def meanwhile() -> None:
        recover_abandoned(this_node())
        assert supervise.claim(second.pk, generation=2) is not None
        made.append(files_of(settings, second))

    with before_the_first_change(meanwhile):
        recover_abandoned(this_node())

    [(folder, socket)] = made
    second.refresh_from_db()
    assert (second.state, second.generation) == (InstanceState.LOADING, 2)
    assert folder.root.exists() and socket.exists()


def test_nobody_can_claim_it_before_its_files_are_gone(settings: Any) -> None:
    instance = abandoned(InstanceState.READY)
    folder, socket = files_of(settings, instance)
    seen: list[bool] = []

    def look(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith('INSERT INTO "django_q_ormq"'):
            seen.append(folder.root.exists() or socket.exists())
        return execute(sql, *arguments)

    with connection.execute_wrapper(look):
        recover_abandoned(this_node())

    assert seen == [False]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Callable[[Path], ProcessIdentity]]:
    """Starts a process that works in this folder, as a runner does."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> ProcessIdentity:
        folder.mkdir(parents=True)
        started.append(subprocess.Popen(["sleep", "300"], cwd=folder, process_group=0))
        identity = identify(started[-1].pid)
        assert identity is not None
        return identity

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("state", [InstanceState.READY, InstanceState.UNLOADING])
def test_the_start_of_a_copy_leaves_the_original_its_processes_and_sockets(
    sleeper: Callable[[Path], ProcessIdentity], tmp_path: Path, state: InstanceState
) -> None:
    original = tmp_path / "original"
    instance = kept_by_this_process(state, sleeper(original / "run/instance-1/tmp"), original / "sockets")

    list(first_start.prepare())

    assert instance.runner is not None and is_alive(instance.runner)
    assert Path(instance.socket).exists() and Path(instance.control).exists()
    instance.refresh_from_db()
    after = InstanceState.STOPPED if state == InstanceState.UNLOADING else InstanceState.QUEUED
    assert (instance.state, instance.pid, instance.socket) == (after, None, "")


def test_at_the_start_a_runner_of_an_earlier_run_is_ended(
    sleeper: Callable[[Path], ProcessIdentity], settings: Any
) -> None:
    runner = sleeper(settings.PORTAL_RUN_DIR / "instance-1" / "tmp")
    instance = kept_by_this_process(InstanceState.READY, runner, settings.PORTAL_SOCKETS_DIR)

    list(first_start.prepare())

    assert not is_alive(runner)
    assert not Path(instance.socket).exists() and not Path(instance.control).exists()


def test_at_the_start_instances_of_another_node_are_left_alone(
    sleeper: Callable[[Path], ProcessIdentity], tmp_path: Path
) -> None:
    instance = kept_by_this_process(InstanceState.READY, sleeper(tmp_path / "elsewhere"), tmp_path / "there")
    Instance.objects.update(node=Node.objects.create(name="another", slots=1))

    list(first_start.prepare())

    instance.refresh_from_db()
    assert (instance.state, instance.owner) == (InstanceState.READY, identify(os.getpid()))


def test_at_the_start_a_job_whose_worker_serves_the_original_is_taken_up_again() -> None:
    job = Job.objects.create(kind=JobKind.CHECK, version=make_version("digits"))
    taken = claim(job.pk)
    assert taken is not None and taken.worker is not None and is_alive(taken.worker)

    list(first_start.prepare())
    jobs.recover()

    job.refresh_from_db()
    assert (job.state, job.attempts, job.pid) == (JobState.QUEUED, 1, None)


def test_a_job_may_be_stopped_with_the_portal_however_often() -> None:
    job = Job.objects.create(kind=JobKind.CHECK, version=make_version("digits"))

    for _ in range(3):
        assert claim(job.pk) is not None
        with socket.socket() as listener:
            Portal(StringIO())._stop(listener)
        list(first_start.prepare())
        jobs.recover()

    job.refresh_from_db()
    assert (job.state, job.attempts, job.pid) == (JobState.QUEUED, 0, None)


def kept_by_this_process(state: InstanceState, runner: ProcessIdentity, sockets: Path) -> Instance:
    """An instance whose owner and runner live, with its sockets in this folder."""
    [instance] = make_version("digits", state).instances.all()
    me = identify(os.getpid())
    assert me is not None
    sockets.mkdir(exist_ok=True)
    instance.owner_pid, instance.owner_started_at, instance.boot_id = me.pid, me.started_at, me.boot_id
    instance.pid, instance.pid_started_at = runner.pid, runner.started_at
    instance.socket, instance.control = str(sockets / f"i{instance.pk}-1-1.sock"), str(sockets / f"i{instance.pk}.ctl")
    instance.save()
    for path in (instance.socket, instance.control):
        Path(path).touch()
    return instance


def abandoned(state: InstanceState) -> Instance:
    """An instance whose owner and process were of an earlier boot."""
    [instance] = make_version("digits", state).instances.all()
    Instance.objects.filter(pk=instance.pk).update(**OF_AN_EARLIER_BOOT)
    return Instance.objects.get(pk=instance.pk)


def files_of(settings: Any, instance: Instance) -> tuple[Workspace, Path]:
    """What its owner makes for it: the folder and the socket."""
    folder = Workspace(settings.PORTAL_RUN_DIR / f"instance-{instance.pk}")
    folder.prepare_empty()
    socket = Path(settings.PORTAL_SOCKETS_DIR) / f"i{instance.pk}-1-1.sock"
    socket.touch()
    return folder, socket


def before_the_first_change(act: Callable[[], None]) -> Any:
    """Within this block, do it when the first instance is about to be changed."""
    acts = [act]

    def wrapper(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if acts and sql.startswith('UPDATE "models_app_instance"'):
            acts.pop()()
        return execute(sql, *arguments)

    return connection.execute_wrapper(wrapper)
