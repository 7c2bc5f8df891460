"""What a worker left that was killed is taken up again: by one who looks, and to nobody else's harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from inference.workspace import Workspace
from models_app.choices import InstanceState
from models_app.models import Instance
from models_app.services.keep import Keeper
from models_app.services.nodes import this_node
from models_app.services.reconcile import take_up_abandoned
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
    folder, socket = files_of(settings, instance)

    assert take_up_abandoned(this_node()) == 1

    instance.refresh_from_db()
    assert (instance.state, instance.generation) == (InstanceState.QUEUED, 2)
    assert (instance.pid, instance.socket) == (None, "")
    assert not folder.root.exists() and not socket.exists()


def test_what_was_to_be_unloaded_is_stopped_and_leaves_no_files(settings: Any) -> None:
    instance = abandoned(InstanceState.UNLOADING)
    folder, socket = files_of(settings, instance)

    assert take_up_abandoned(this_node()) == 1

    instance.refresh_from_db()
    assert (instance.state, instance.receipt["pids"]) == (InstanceState.STOPPED, [1])
    assert not folder.root.exists() and not socket.exists()


def test_of_two_who_take_up_the_slower_one_leaves_the_new_owner_its_files(settings: Any) -> None:
    """The slower one still has the list that it read before the faster one handed out and another claimed."""
    _, second = abandoned(InstanceState.READY), abandoned(InstanceState.READY)
    made: list[tuple[Workspace, Path]] = []

    def meanwhile() -> None:
        take_up_abandoned(this_node())
        assert Keeper.claim(second.pk, generation=2) is not None
        made.append(files_of(settings, second))

    with before_the_first_change(meanwhile):
        take_up_abandoned(this_node())

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
        take_up_abandoned(this_node())

    assert seen == [False]


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
