"""Rows for the tests of the admin's pages: users, versions, instances. No process stands behind them."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from models_app.choices import FileStatus, InstanceState
from models_app.models import Instance, ModelVersion, Node, RegisteredModel, Transition

_numbers = itertools.count(1)
SIGNATURE = {
    "inputs": [{"name": "image", "dtype": "float32", "shape": [None, 8, 8, 1]}],
    "outputs": [{"name": "scores", "dtype": "float32", "shape": [None, 3]}],
}


def make_staff(*verbs: str, name: str = "") -> User:
    """A staff user who may do these verbs with versions."""
    user = User.objects.create_user(name or f"staff{next(_numbers)}", is_staff=True)
    codenames = [f"{verb}_modelversion" for verb in verbs]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def make_superuser(name: str = "root") -> User:
    return User.objects.create_superuser(name)


def make_node(**fields: Any) -> Node:
    cpu = {"id": "cpu", "kind": "cpu", "name": "a CPU", "memory_bytes": 16 * 10**9, "free_bytes": 9 * 10**9}
    gpu = {"id": "gpu:0", "kind": "gpu", "name": "a GPU", "memory_bytes": 24 * 10**9, "free_bytes": 14 * 10**9}
    given = {"slots": 8, "devices": [cpu, gpu], "last_seen": timezone.now(), **fields}
    return Node.objects.update_or_create(name=settings.PORTAL_NODE, defaults=given)[0]


def make_version(
    name: str = "cats", status: FileStatus = FileStatus.READY, with_file: bool = False, **fields: Any
) -> ModelVersion:
    model, _ = RegisteredModel.objects.get_or_create(name=name)
    model.last_number += 1
    model.save()
    key = secrets.token_hex(16)
    if with_file:
        directory = Path(settings.PORTAL_FILES_DIR) / key
        directory.mkdir(parents=True)
        (directory / "source").write_bytes(b"weights")
    given = {"file_name": "model.keras", "size_bytes": 13_900_000, "sha256": "9f3c71ab" * 8}
    facts = {
        "format": "keras",
        "signature_json": SIGNATURE,
        "labels": ["ant", "bee", "cat"],
        "engine_selected": "tensorflow",
        "engine_reason": "the engine that made the file",
    }
    return ModelVersion.objects.create(
        model=model,
        number=model.last_number,
        file_key=key,
        status=status,
        **{**given, **(facts if status == FileStatus.READY else {}), **fields},
    )


def make_instance(version: ModelVersion, state: InstanceState = InstanceState.READY, **fields: Any) -> Instance:
    ready = {
        "pid": 4711,
        "device": "gpu:0",
        "engine": "tensorflow",
        "memory_bytes": 118_000_000,
        "device_memory_bytes": 2_100_000_000,
        "loaded_at": timezone.now(),
        "load_seconds": 0.9,
        "rates": [1.0, 2.5],
        "sandbox": "none",
    }
    given = {**(ready if state == InstanceState.READY else {}), **fields}
    node = Node.objects.filter(name=settings.PORTAL_NODE).first() or make_node()
    return Instance.objects.create(version=version, node=node, state=state, state_since=timezone.now(), **given)


def make_all_states() -> dict[str, ModelVersion]:
    """One version in each state that a page can show."""
    states: Iterable[InstanceState] = [s for s in InstanceState if s != InstanceState.STOPPED]
    versions = {"unloaded": make_version("unloaded")}
    for state in states:
        shown = "loaded" if state == InstanceState.READY else str(state)
        versions[shown] = make_version(shown)
        detail = "Process 4802 was killed from outside." if state in {"failed", "restarting"} else ""
        make_instance(versions[shown], state, state_detail=detail)
        Transition.objects.create(model_name=shown, version_number=1, before="loading", after=state, reason="So it is.")
    versions["checking"] = make_version("checking", FileStatus.CHECKING)
    rejected = make_version("rejected", FileStatus.REJECTED, status_detail="The file holds weights only.")
    rejected.jobs.create(kind="check", state="done", finished_at=timezone.now())
    versions["rejected"] = rejected
    return versions
