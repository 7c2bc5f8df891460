"""Reconcile: correct the rows after processes died, and queue what is still wanted."""

from __future__ import annotations

import logging
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django_q.brokers import get_broker

from inference.host.processes import boot_id, end_group, is_alive, works_below
from inference.owner.reporting import Receipt
from inference.workspace import Workspace
from models_app import queue
from models_app.choices import OWNED, InstanceState
from models_app.cluster_names import models_cluster
from models_app.models import Instance, Node
from models_app.services.move import NO_PROCESS, move
from models_app.services.unload import instance_receipt

logger = logging.getLogger("portal.reconcile")
RUNNING = (InstanceState.LOADING, InstanceState.READY, InstanceState.RESTARTING)


def forget_deliveries(node: Node) -> None:
    """Delete the broker's rows of this node's queue (never registry rows). Only before its cluster starts."""
    get_broker(models_cluster(node.name)).purge_queue()


def requeue_all(node: Node) -> None:
    """Dispatch waiting loads again: at the start of the node's cluster, or when deliveries were lost."""
    for instance in Instance.objects.filter(node=node, state=InstanceState.QUEUED).order_by("state_since", "pk"):
        _dispatch_again(instance)


def forget_owners(node: Node) -> None:
    """At the start of the portal, before any cluster: owners named in rows have ended, or belong to the portal that
    this directory was copied from."""
    Instance.objects.filter(node=node, state__in=OWNED).update(owner_pid=None)


def recover_abandoned(node: Node) -> int:
    """Instances whose owner is gone: end a runner that it left, then stop or queue the instance. Returns how many."""
    count = 0
    for instance in Instance.objects.filter(node=node, state__in=OWNED).select_related("version__model", "node"):
        owner = instance.owner
        if owner is not None and is_alive(owner):
            continue
        count += _recover(instance)
    return count


def _recover(instance: Instance) -> bool:
    """False where another process was faster, also where a new owner loads it by now.

    The files are removed before the move is committed: later they might be those of a new owner.
    """
    runner = instance.runner
    if runner is not None and is_alive(runner) and works_below(runner.pid, settings.PORTAL_RUN_DIR):
        end_group(runner, 0.5)  # it dies with its owner; this is a second safeguard
    sockets = _sockets_of(instance)
    with transaction.atomic():
        if not _move_on(instance):
            return False
        Workspace(settings.PORTAL_RUN_DIR / f"instance-{instance.pk}").remove()
        for path in sockets:
            path.unlink(missing_ok=True)
        if instance.state == InstanceState.QUEUED:
            _dispatch_again(instance)
    return True


def _sockets_of(instance: Instance) -> list[Path]:
    """The sockets that its owner could not remove any more; they are named after the instance."""
    folder = Path(settings.PORTAL_SOCKETS_DIR)
    control = Path(instance.control)
    return [*folder.glob(f"i{instance.pk}-*.sock"), *([control] if control.parent == folder else [])]


def _move_on(instance: Instance) -> bool:
    if instance.state == InstanceState.UNLOADING:
        # Nobody saw it end: its memory is that of the last measurement, its requests were not counted.
        receipt = Receipt((instance.pid,) if instance.pid else (), memory_freed_bytes=instance.memory_bytes or 0)
        return move(
            instance,
            InstanceState.STOPPED,
            before=[InstanceState.UNLOADING],
            reason="Its process had ended.",
            receipt=instance_receipt(instance, receipt),
            **NO_PROCESS,
        )
    is_other_boot = instance.boot_id != boot_id()
    reason = "The machine was started again." if is_other_boot else "The worker that kept it loaded had ended."
    return move(
        instance,
        InstanceState.QUEUED,
        before=RUNNING,
        generation=instance.generation,
        reason=f"{reason} It is loaded again.",
        **NO_PROCESS,
    )


def _dispatch_again(instance: Instance) -> None:
    """A new generation, so that an older delivery of the same load does nothing."""
    with transaction.atomic():
        changed = Instance.objects.filter(
            pk=instance.pk, state=InstanceState.QUEUED, generation=instance.generation
        ).update(generation=F("generation") + 1, state_since=timezone.now())
        if changed:
            instance.refresh_from_db()
            transaction.on_commit(lambda: queue.keep_loaded(instance), robust=True)
