"""Moves of an instance: the row is locked, moved and its Transition written in one transaction; the first wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from models_app.choices import ALLOWED_MOVES, InstanceState
from models_app.models import Instance, ModelVersion, Transition
from models_app.services.notify import notify

NO_PROCESS: Mapping[str, Any] = {"pid": None, "socket": "", "memory_bytes": None, "device_memory_bytes": None}
"""The fields of an instance whose process has ended."""


def move(
    instance: Instance,
    after: InstanceState,
    *,
    before: Iterable[InstanceState],
    reason: str = "",
    by: str = "",
    generation: int | None = None,
    **fields: Any,
) -> bool:
    """Move the instance from one of `before` to `after` and set `fields`; False where somebody else was faster.

    `generation`: only if the instance is still of this one. Raises ValueError for a move that ALLOWED_MOVES lacks.
    """
    states = [InstanceState(state) for state in before]
    for state in states:
        if after not in ALLOWED_MOVES[state]:
            raise ValueError(f"an instance does not go from {state} to {after}")
    with transaction.atomic():
        rows = Instance.objects.filter(pk=instance.pk, state__in=states)
        if generation is not None:
            rows = rows.filter(generation=generation)
        held = rows.select_for_update().first()
        if held is None:
            return False
        Instance.objects.filter(pk=held.pk).update(
            state=after, state_since=timezone.now(), **{"state_detail": "", **fields}
        )
        record(instance.version, InstanceState(held.state), after, reason=reason, by=by, instance=instance)
        transaction.on_commit(partial(notify, subject=instance.version.model.name), robust=True)
        instance.refresh_from_db(from_queryset=Instance.objects.select_related("version__model", "node"))
        return True


def record(
    version: ModelVersion,
    before: str,
    after: str,
    *,
    reason: str = "",
    facts: Mapping[str, Any] | None = None,
    by: str = "",
    instance: Instance | None = None,
) -> None:
    """Write a line of history: what an instance did, or an upload, a check, a deletion.

    `facts` are what programs read of it: `size_bytes` of an upload, the names of what was `changed`.
    """
    Transition.objects.create(
        model_name=version.model.name,
        version_number=version.number,
        instance_number=instance.pk if instance is not None else None,
        before=before,
        after=after,
        reason=reason,
        facts=facts or {},
        by=by,
    )
