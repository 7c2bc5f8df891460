"""Load: queue instances of a version. A worker of the models cluster claims each and keeps it loaded."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from inference.errors import LoadFailed, NoSlot, NotLoaded
from models_app import queue
from models_app.choices import ENDED, LIVE, InstanceState, VersionState, version_state
from models_app.models import Instance, ModelVersion, Node
from models_app.services import find
from models_app.services.actor import Actor, actor_name
from models_app.services.convert import request_conversion
from models_app.services.engine_file import check_possible, target_for
from models_app.services.move import record
from models_app.services.nodes import NO_SLOTS, this_node
from models_app.services.waiting import wait_until

MOST_WAITING = 100
CANCELLED = "The load was cancelled: somebody unloaded the model meanwhile."


def load(version: ModelVersion, *, by: Actor, instances: int = 1, wait_s: float = 0.0) -> ModelVersion:
    """See to it that `instances` copies are loaded or on their way; never unloads another version. Idempotent.

    Waits up to `wait_s` for the outcome: raises what `wait_until_loaded` raises. Raises NotReady for a file that is not
    checked, NoSlot where the node has no slots or too many wait.
    """
    with transaction.atomic():
        version = find.lock(version)
        find.check_ready(version)
        _prepare(version, by)
        node = this_node()
        live = version.instances.filter(state__in=LIVE).exclude(state=InstanceState.UNLOADING).count()
        missing = instances - live
        if missing > 0:
            check_room(node, missing)
            version.instances.filter(state__in=ENDED).delete()
        ModelVersion.objects.filter(pk=version.pk).update(instances_wanted=max(instances, live))
        for _ in range(missing):
            _enqueue(version, node, by)
    return wait_until_loaded(version, wait_s)


def _prepare(version: ModelVersion, by: Actor) -> None:
    """See to it that the engine's file is there or on its way. Raises LoadFailed where it cannot be made."""
    target = target_for(version, version.engine_selected)
    if not target:
        return
    conversion = version.conversions.filter(format=target).first()
    if conversion is None:
        request_conversion(version, target, by=by)
    else:
        check_possible(conversion, version.engine_selected)


def check_room(node: Node, more: int) -> None:
    """Raises NoSlot where no more loads are taken: the node has no slots, or too many wait for one."""
    if node.slots == 0:
        raise NoSlot(NO_SLOTS, retry_after_s=60)
    waiting = Instance.objects.filter(node=node, state=InstanceState.QUEUED).count()
    if waiting + more > MOST_WAITING:
        raise NoSlot(f"{waiting} loads are waiting already. Unload a model or try again later.", retry_after_s=30)


def _enqueue(version: ModelVersion, node: Node, by: Actor) -> None:
    instance = Instance.objects.create(version=version, node=node, state_since=timezone.now(), by=actor_name(by))
    record(version, "", InstanceState.QUEUED, reason="Load asked for.", by=instance.by, instance=instance)
    transaction.on_commit(lambda: queue.keep_loaded(instance), robust=True)  # else the cluster's watch finds it


def wait_until_loaded(version: ModelVersion, wait_s: float) -> ModelVersion:
    """The version once it is loaded or `wait_s` are over; in the second case it may still be on its way.

    Raises LoadFailed where the load failed, NotLoaded where an unload cancelled it, NotFound where it was deleted.
    """
    wait_until(lambda: _has_settled(version, list(version.instances.order_by("pk"))) or None, wait_s)
    fresh = find.again(version)
    _has_settled(fresh, fresh.shown_instances)  # somebody may have unloaded it since
    return fresh


def _has_settled(version: ModelVersion, instances: Sequence[Instance]) -> bool:
    states = {instance.state for instance in instances}
    state = version_state([*states])
    if state is VersionState.FAILED:
        raise LoadFailed(next(i.state_detail for i in instances if i.state == InstanceState.FAILED))
    if state in {VersionState.UNLOADED, VersionState.UNLOADING}:
        find.again(version)
        raise NotLoaded(CANCELLED)
    return state is VersionState.LOADED and not {InstanceState.QUEUED, InstanceState.LOADING} & states
