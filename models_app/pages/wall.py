"""The wall: what needs attention, what is loaded where, how much memory is left, what happened last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from models_app.choices import LIVE, OWNED, FileStatus, InstanceState
from models_app.models import Instance, ModelVersion, Node, RegisteredModel, Transition
from models_app.pages.events import Event, recent_events
from models_app.pages.memory_bars import DeviceBar, device_bar
from models_app.pages.version_row import VersionRow, version_row
from models_app.pages.words import clock_words, duration_words, plural
from models_app.rights import Rights
from models_app.services import find
from models_app.services.nodes import is_silent
from models_app.services.places import queue_places

SAMPLE_NAME = "digits"
ATTENTION_FOR = timedelta(days=1)
ATTENTION_SHOWN = WAITING_SHOWN = 5
"""More of them are a link to the list: what is loaded stays in sight."""
EVENTS_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a loaded model; `v` is None where it is free."""

    number: int
    v: VersionRow | None


@dataclass(frozen=True, slots=True)
class Wall:
    """`rows`: what is loaded or on the way; `sample` is set at the first run only."""

    node: str
    headline: str
    updated: str
    banner: str
    slots: tuple[Slot, ...]
    slots_free: int
    waiting: int
    devices: tuple[DeviceBar, ...]
    rows: tuple[VersionRow, ...]
    waiting_unshown: int
    attention: tuple[VersionRow, ...]
    attention_unshown: int
    events: tuple[Event, ...]
    sample: VersionRow | None
    is_first_run: bool


def build_wall(rights: Rights) -> Wall:
    """Asks the database a constant number of times, however much is loaded."""
    now = timezone.now()
    node = first_node()
    versions = list(_shown_versions(now))
    held = sorted((i for v in versions for i in v.shown_instances if i.state in OWNED), key=lambda i: i.pk)
    slots = assign_slots(held, node.slots)
    places = queue_places()
    rows = {v.pk: version_row(v, rights, places=places, slots=slots, now=now) for v in versions}
    pairs = [(rows[i.version_id], i) for i in held]
    newest_first = sorted(versions, key=lambda version: version.pk, reverse=True)
    attention = [rows[v.pk] for v in newest_first if _needs_somebody(v, rows[v.pk])]
    loaded_count = sum(row.state == "loaded" for row in rows.values())
    is_first_run = _is_first_run()
    return Wall(
        node=node.name,
        headline=_headline(loaded_count, node.name, is_first_run),
        updated=clock_words(now),
        banner=silence_banner(node, now),
        slots=_slots(node.slots, slots, {i.pk: rows[i.version_id] for i in held}),
        slots_free=max(0, node.slots - len(held)),
        waiting=len(places),
        devices=tuple(device_bar(device, pairs) for device in node.devices),
        rows=tuple(sorted((row for row in rows.values() if _is_shown(row)), key=_order)),
        waiting_unshown=sum(row.place > WAITING_SHOWN for row in rows.values() if row.state == "queued"),
        attention=tuple(attention[:ATTENTION_SHOWN]),
        attention_unshown=len(attention[ATTENTION_SHOWN:]),
        events=recent_events(list(Transition.objects.all()[:EVENTS_SHOWN]), now),
        sample=_sample(rights) if is_first_run else None,
        is_first_run=is_first_run,
    )


def first_node() -> Node:
    """The row of this host; before its cluster has reported for the first time, what the settings say of it."""
    nodes = {node.name: node for node in Node.objects.all()}
    mine = nodes.get(settings.PORTAL_NODE) or next(iter(nodes.values()), None)
    return mine or Node(name=settings.PORTAL_NODE, slots=settings.PORTAL_SLOTS)


def silence_banner(node: Node, now: datetime) -> str:
    """The sentence while the models cluster does not answer; empty while it does."""
    if not is_silent(node):
        return ""
    if node.last_seen is None:
        return f"The models cluster of {node.name} has not answered yet. Loading waits until it does."
    seconds = duration_words((now - node.last_seen).total_seconds())
    return (
        f"The models cluster of {node.name} has not answered for {seconds}. "
        "What is loaded still answers; loading waits."
    )


def slots_line(node: Node, held: int, waiting: int) -> str:
    """`2 of 8 slots free on atlas`, `All 8 slots taken on atlas, 3 waiting`."""
    if node.slots == 0:
        return f"{node.name} has no slots"
    free = max(0, node.slots - held)
    taken = "The slot is taken" if node.slots == 1 else f"All {node.slots} slots taken"
    line = f"{free} of {plural(node.slots, 'slot')} free" if free else taken
    return f"{line} on {node.name}" + (f", {waiting} waiting" if waiting else "")


def assign_slots(held: Sequence[Instance], count: int) -> Mapping[int, int]:
    """Instance → slot. Each takes the slot of its own number if that is free, and so stays there when others end."""
    slots: dict[int, int] = {}
    taken: set[int] = set()
    for instance in held:
        slot = (instance.pk - 1) % max(1, count)
        while slot in taken and len(taken) < count:
            slot = (slot + 1) % count
        taken.add(slot)
        slots[instance.pk] = slot + 1
    return slots


def _shown_versions(now: datetime) -> QuerySet[ModelVersion]:
    since = now - ATTENTION_FOR
    is_shown = (
        Q(instances__state__in=LIVE)
        | Q(instances__state=InstanceState.FAILED, instances__state_since__gt=since)
        | Q(status=FileStatus.CHECKING)
        | Q(status=FileStatus.REJECTED, jobs__finished_at__gt=since)
    )
    return find.versions().filter(is_shown).distinct()


def _needs_somebody(version: ModelVersion, row: VersionRow) -> bool:
    """Whether it failed, or was rejected and is still the newest version of its model."""
    is_latest = version.number == version.model.last_number
    return row.state == "failed" or (row.state == "rejected" and is_latest)


def _is_shown(row: VersionRow) -> bool:
    if row.state == "queued":
        return row.place <= WAITING_SHOWN
    return row.state == "loaded" or row.is_moving


def _order(row: VersionRow) -> tuple[bool, int, int, str, int]:
    """What is loaded first, by slot, then what moves; what waits in the order of the queue."""
    return row.state != "loaded", row.slot or 1_000_000, row.place, row.model, -row.version


def _slots(count: int, slots: Mapping[int, int], rows: Mapping[int, VersionRow]) -> tuple[Slot, ...]:
    by_number = {number: rows[pk] for pk, number in slots.items()}
    return tuple(Slot(number, by_number.get(number)) for number in range(1, count + 1))


def _headline(loaded: int, node: str, is_first_run: bool) -> str:
    if is_first_run:
        return "Welcome"
    return f"{plural(loaded, 'model')} loaded on {node}" if loaded else f"No model is loaded on {node}"


def _is_first_run() -> bool:
    """No model but the sample, and nothing was ever asked to be loaded."""
    if RegisteredModel.objects.exclude(name=SAMPLE_NAME).exists():
        return False
    return not Transition.objects.filter(after=InstanceState.QUEUED).order_by().exists()


def _sample(rights: Rights) -> VersionRow | None:
    version = find.versions().filter(model__name=SAMPLE_NAME, status=FileStatus.READY).first()
    return version_row(version, rights, places={}) if version else None
