"""The five groups of the list: chips with counts, and the rows that each shows."""

from __future__ import annotations

from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, QuerySet, Value, When

from models_app.choices import LIVE, FileStatus, InstanceState
from models_app.models import Instance, ModelVersion

GROUP_WORDS = {
    "": "All",
    "loaded": "Loaded",
    "moving": "On the way",
    "attention": "Needs you",
    "unloaded": "Unloaded",
}


def with_group(versions: QuerySet[ModelVersion]) -> QuerySet[ModelVersion]:
    """Annotates `group` as `version_row.shown_state` would sort it, but in the database."""

    def any_in(*states: InstanceState) -> Exists:
        return Exists(Instance.objects.filter(version=OuterRef("pk"), state__in=states))

    return versions.annotate(
        group=Case(
            When(status=FileStatus.CHECKING, then=Value("moving")),
            When(status=FileStatus.REJECTED, number=F("model__last_number"), then=Value("attention")),
            When(status=FileStatus.REJECTED, then=Value("unloaded")),  # a newer version has taken its place
            When(any_in(InstanceState.READY), then=Value("loaded")),
            When(any_in(*LIVE), then=Value("moving")),
            When(any_in(InstanceState.FAILED), then=Value("attention")),
            default=Value("unloaded"),
            output_field=CharField(),
        )
    )


def in_group(versions: QuerySet[ModelVersion], group: str) -> QuerySet[ModelVersion]:
    return with_group(versions).filter(Q(group=group)) if group else versions


def group_counts(versions: QuerySet[ModelVersion]) -> dict[str, int]:
    """How many of the versions each group holds: one query."""
    grouped = with_group(versions.order_by())
    counted = {name or "all": Count("pk", filter=Q(group=name) if name else None) for name in GROUP_WORDS}
    found = grouped.aggregate(**counted)
    return {name: found[name or "all"] for name in GROUP_WORDS}
