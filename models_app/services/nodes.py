"""This host as a node: its slots, its devices, whether its models cluster answers."""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from inference.host.devices import list_devices, load_nvml
from models_app.choices import OWNED
from models_app.models import Instance, Node

SEEN_EVERY_S = 2.0
SILENT_AFTER_S = 15.0
NO_SLOTS = "This node has no slots for models. Start it with PORTAL_SLOTS above 0."


def this_node() -> Node:
    """The row of this host. A portal has one node for now: a host with a new name takes over what the old one had."""
    node, is_new = Node.objects.get_or_create(name=settings.PORTAL_NODE, defaults={"slots": settings.PORTAL_SLOTS})
    if is_new:
        for other in Node.objects.exclude(pk=node.pk):
            Instance.objects.filter(node=other).update(node=node)
            other.delete()
    return node


def node_at_work() -> str | None:
    """The name of a node that reports within the next 6 s; None at once where none did lately."""
    before = _reports()
    if all(map(_is_long_ago, before.values())):
        return None
    until = time.monotonic() + 3 * SEEN_EVERY_S
    while time.monotonic() < until:
        time.sleep(0.5)
        for name, moment in _reports().items():
            if moment != before.get(name):
                return name
    return None


def _reports() -> dict[str, datetime | None]:
    return dict(Node.objects.values_list("name", "jobs_last_seen"))


def announce_slots(node: Node) -> None:
    """Store the number of slots: with none there is no models cluster that would report it."""
    Node.objects.filter(pk=node.pk).update(slots=settings.PORTAL_SLOTS)


def report_node(node: Node) -> None:
    """Store that the node is alive, and the free memory of its devices."""
    devices = [dataclasses.asdict(device) for device in list_devices(load_nvml())]
    Node.objects.filter(pk=node.pk).update(slots=settings.PORTAL_SLOTS, devices=devices, last_seen=timezone.now())


def report_jobs(node: Node) -> None:
    """Store that the jobs cluster is alive."""
    Node.objects.filter(pk=node.pk).update(jobs_last_seen=timezone.now())


def is_silent(node: Node) -> bool:
    """Whether its models cluster has not reported for a while: what is loaded answers, loading waits."""
    return node.slots > 0 and _is_long_ago(node.last_seen)


def are_jobs_silent(node: Node) -> bool:
    """Whether the jobs cluster has not reported for a while: files wait to be checked."""
    return _is_long_ago(node.jobs_last_seen)


def _is_long_ago(moment: datetime | None) -> bool:
    return moment is None or timezone.now() - moment > timedelta(seconds=SILENT_AFTER_S)


def slots_free(node: Node) -> int:
    return max(0, node.slots - Instance.objects.filter(node=node, state__in=OWNED).count())
