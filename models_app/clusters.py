"""What the clusters do besides running tasks: correct the rows at the start, report the node, recover lost work."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connections
from django_q.signals import post_spawn, pre_execute

from inference.host.devices import import_nvml
from inference.workspace import remove_workspaces_of_jobs
from models_app import queue
from models_app.choices import InstanceState
from models_app.models import Instance, Node
from models_app.services import jobs, nodes, reconcile
from models_app.services.leftovers import remove_leftovers
from models_app.services.spares import LOOK_EVERY_S, spares
from models_app.stoppable_cluster import StoppableCluster, WhileIdle, acknowledge_at_start, skip_stale, while_idle

logger = logging.getLogger("portal.cluster")
STUCK_AFTER_S = 10.0
LOOK_FOR_LOST_EVERY_S = 60.0
CLEAR_SESSIONS_EVERY_S = 24 * 3600.0


def run_jobs() -> None:
    cluster = StoppableCluster()
    node = nodes.this_node()
    remove_workspaces_of_jobs(settings.PORTAL_RUN_DIR)
    jobs.recover()
    remove_leftovers()
    connections.close_all()
    cluster.run(nodes.SEEN_EVERY_S, _JobsWatch(node).beat)


def run_models() -> None:
    import_nvml()  # here, not in each worker
    cluster = StoppableCluster()
    node = nodes.this_node()
    reconcile.forget_deliveries(node)
    reconcile.recover_abandoned(node)
    reconcile.requeue_all(node)
    connections.close_all()
    pre_execute.connect(_acknowledge, weak=False)
    post_spawn.connect(_recover, weak=False)
    cluster.run(nodes.SEEN_EVERY_S, _Watch(node).beat)


def _acknowledge(sender: str, func: Any, task: dict[str, Any], **_: Any) -> None:
    acknowledge_at_start(task)


def _recover(sender: str, **_: Any) -> None:
    """In each new worker: it may replace one that was killed, whose instance waits to be recovered.

    Where the database is away the watch does it later: a worker that ended here would be replaced at once.
    """
    with contextlib.suppress(DatabaseError):
        reconcile.recover_abandoned(nodes.this_node())
    connections.close_all()
    skip_stale(_is_stale)
    if settings.PORTAL_WARM_SPARES:
        while_idle(WhileIdle(LOOK_EVERY_S, spares.look, spares.leave_to_others, spares.discard))


def _is_stale(task: dict[str, Any]) -> bool:
    """A load that was cancelled or dispatched again. Loading and unloading in quick succession leaves hundreds."""
    try:
        pk, generation = task["args"]
        return not Instance.objects.filter(pk=pk, generation=generation, state=InstanceState.QUEUED).exists()
    except DatabaseError:
        return False  # the worker will report the error


class _JobsWatch:
    """The beat of the jobs cluster's main process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._looked_at = time.monotonic()
        self._cleared_at = -math.inf

    def beat(self) -> None:
        nodes.report_jobs(self._node)
        jobs.recover_interrupted()
        if time.monotonic() - self._cleared_at > CLEAR_SESSIONS_EVERY_S:
            self._cleared_at = time.monotonic()
            call_command("clearsessions")  # Django keeps those that have expired
        if time.monotonic() - self._looked_at > LOOK_FOR_LOST_EVERY_S:
            self._looked_at = time.monotonic()
            jobs.dispatch_lost()
            remove_leftovers()


class _Watch:
    """The beat of the models cluster's main process."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: set[int] = set()
        self._moved_at = time.monotonic()
        self._was_handed_out = False

    def beat(self) -> None:
        nodes.report_node(self._node)
        reconcile.recover_abandoned(self._node)
        self._dispatch_what_is_stuck()

    def _dispatch_what_is_stuck(self) -> None:
        """If for a while no waiting load was taken up although a slot is free, the deliveries were lost (the broker was
        away): hand them out again. If that does not help, the cluster is stuck and restarted. While the broker is
        away nothing can be dispatched, and loaded models go on."""
        queued = Instance.objects.filter(node=self._node, state=InstanceState.QUEUED)
        waiting, before = set(queued.values_list("pk", flat=True)), self._waiting
        self._waiting = waiting
        has_moved = bool(before - waiting) or not waiting
        if has_moved or nodes.slots_free(Node.objects.get(pk=self._node.pk)) <= 0:
            self._moved_at, self._was_handed_out = time.monotonic(), False
        elif time.monotonic() - self._moved_at > STUCK_AFTER_S and queue.is_there(settings.MODELS_CLUSTER):
            if self._was_handed_out:
                logger.critical("loads wait although slots are free; the whole cluster is started again")
                os._exit(1)
            self._moved_at, self._was_handed_out = time.monotonic(), True
            reconcile.requeue_all(self._node)
