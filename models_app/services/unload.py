"""Unload: end just these processes. Requests in progress are finished first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.db import transaction

from inference.errors import Unavailable
from inference.owner import nudge
from inference.owner.reporting import Receipt
from models_app.choices import LIVE, InstanceState
from models_app.models import Instance, ModelVersion, RegisteredModel
from models_app.services import find
from models_app.services.actor import Actor, actor_name
from models_app.services.move import move
from models_app.services.waiting import wait_until

DEFAULT_WAIT_S = 35.0


def unload(
    versions: Sequence[ModelVersion], *, by: Actor, wait_s: float = DEFAULT_WAIT_S, reason: str = "Unload asked for."
) -> dict[str, Any] | None:
    """Unload all instances of these versions of one model; a queued load is cancelled, and so is one that is to follow
    the check. Idempotent.

    Returns the RECEIPT once the processes are gone, None while they are not after `wait_s`.
    """
    ending: list[Instance] = []
    for version in versions:
        with transaction.atomic():
            ModelVersion.objects.filter(pk=version.pk).update(instances_wanted=0, replaces_older=False)
            # Locked: else its owner could change its state between the read and the move, and the wish would be lost.
            held = version.instances.select_for_update(of=("self",)).select_related("version__model")
            for instance in held.exclude(state=InstanceState.STOPPED):
                if _wish_end(instance, actor_name(by), reason):
                    ending.append(instance)
    for instance in ending:
        nudge(Path(instance.control))
    pks = [instance.pk for instance in ending]

    def look() -> list[Instance] | None:
        rows = list(Instance.objects.filter(pk__in=pks))
        return None if any(row.state in LIVE for row in rows) else rows

    rows = wait_until(look, wait_s)
    return None if rows is None else receipt_of(versions[0].model.name, versions, rows)


def unload_model(model: RegisteredModel, *, by: Actor) -> dict[str, Any]:
    """Unload all that is loaded of a model. Returns the RECEIPT once the processes are gone; raises Unavailable while
    they are not after DEFAULT_WAIT_S."""
    versions = find.what_to_unload(model)
    receipt = unload(versions, by=by) if versions else receipt_of(model.name)
    if receipt is None:
        raise Unavailable("Its process has not ended yet. Try again in some seconds.", retry_after_s=5)
    return receipt


def _wish_end(instance: Instance, by: str, reason: str) -> bool:
    """Write that a locked instance is to end. True where a process has to end first."""
    before = InstanceState(instance.state)
    if before in {InstanceState.QUEUED, InstanceState.FAILED}:
        move(instance, InstanceState.STOPPED, before=[before], reason=reason, by=by)
        return False
    if before is not InstanceState.UNLOADING:
        move(instance, InstanceState.UNLOADING, before=[before], reason=reason, by=by)
    return True


def instance_receipt(instance: Instance, receipt: Receipt) -> dict[str, Any]:
    """What an instance's row keeps of its unload; `receipt_of` makes the RECEIPT from such."""
    is_on_gpu = instance.device.startswith("gpu")
    return asdict(receipt) | {
        "pids": list(receipt.pids),
        "device_memory_freed_bytes": instance.device_memory_bytes if is_on_gpu else None,
    }


def receipt_of(model: str, versions: Sequence[ModelVersion] = (), rows: Sequence[Instance] = ()) -> dict[str, Any]:
    """The RECEIPT of instances that have ended; without any, of nothing that was unloaded. It names the version where
    only one of `versions` was loaded: others may have failed before, or have waited for a slot."""
    ended = {row.version_id for row in rows}
    unloaded = [version for version in versions if version.pk in ended] or versions
    receipts = [row.receipt for row in rows if row.receipt]
    on_gpu = [r["device_memory_freed_bytes"] for r in receipts if r.get("device_memory_freed_bytes") is not None]
    return {
        "model": model,
        "version": unloaded[0].number if len(unloaded) == 1 else None,
        "state": "unloaded",
        "pids": [pid for r in receipts for pid in r["pids"]],
        "process_exited": True,
        "seconds": max((r["seconds"] for r in receipts), default=0),
        "memory_freed_bytes": sum(r["memory_freed_bytes"] for r in receipts),
        "device_memory_freed_bytes": sum(on_gpu) if on_gpu else None,
        "drained_requests": sum(r["drained_requests"] for r in receipts),
        "failed_requests": sum(r["failed_requests"] for r in receipts),
    }
