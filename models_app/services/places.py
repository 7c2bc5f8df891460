"""Places: which loads wait for a slot, and where in the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.db.models import Count, Q

from models_app.choices import OWNED, InstanceState
from models_app.models import Instance, ModelVersion, Node
from models_app.services.nodes import is_silent


class Place(NamedTuple):
    """The place of a waiting load, from 1 to `total` on its node; `has_slot`: a slot is free for it."""

    number: int
    total: int
    has_slot: bool = False


Places = Mapping[int, Place]
"""Primary key of a queued instance → its place."""


def queue_places() -> Places:
    """The places of all that waits: one query."""
    queued: dict[Node, list[int]] = {}
    free: dict[Node, int] = {}
    waiting = Instance.objects.filter(state=InstanceState.QUEUED).order_by("state_since", "pk").select_related("node")
    for instance in waiting.annotate(held=Count("node__instances", filter=Q(node__instances__state__in=OWNED))):
        queued.setdefault(instance.node, []).append(instance.pk)
        free[instance.node] = _free(instance.node, instance.held)
    return {
        pk: Place(index + 1, len(pks), index < free[node])
        for node, pks in queued.items()
        for index, pk in enumerate(pks)
    }


def waits_for_slot(version: ModelVersion, places: Places) -> bool:
    """Whether a load of it stands in the queue and no slot is free for it yet."""
    return any(i.pk in places and not places[i.pk].has_slot for i in version.shown_instances)


def keeps_older(version: ModelVersion, place: Place) -> bool:
    """Whether it waits for a slot while the version that it replaces keeps its own until this one is ready."""
    return version.replaces_older and not place.has_slot


def _free(node: Node, held: int) -> int:
    """Slots that the node's cluster is about to fill; 0 where it does not answer."""
    return 0 if is_silent(node) else node.slots - held
