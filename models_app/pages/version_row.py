"""One version as rows and cards print it: on the wall, in the list, at the head of its page, on the try page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils import timezone

from inference.catalog import FORMATS
from models_app.choices import MOVING_STATES, OWNED, TONES, FileStatus, InstanceState, JobKind, Remedy, VersionState
from models_app.models import Instance, ModelVersion
from models_app.pages.words import (
    count_words,
    duration_words,
    milliseconds_words,
    rate_words,
    short_seconds,
    size_words,
)
from models_app.rights import Rights
from models_app.services.places import Places, keeps_older, queue_places

STATE_WORDS = {**dict(VersionState.choices), **dict(FileStatus.choices)}
SPARK_POINTS = 20
HUES = 8
_UNLOAD_WORDS = {"queued": "Cancel", "loading": "Cancel", "restarting": "Stop"}


@dataclass(frozen=True, slots=True)
class VersionRow:
    """`state` is what is shown: checking or rejected where the file is not ready, else the state of its instances.

    Texts are ready to print and not yet escaped; an empty one prints nothing. `slot` is 0 where it holds none, `place`
    where it does not wait for one.
    """

    pk: int
    model: str
    version: int
    state: str
    state_detail: str
    status: str
    rights: Rights
    remedy: str = ""
    format: str = ""
    size: str = ""
    engine_selected: str = ""
    precision: str = ""
    device: str = ""
    memory: str = ""
    device_memory: str = ""
    requests: str = "0"
    rps: str = "0.0"
    rps_max: str = "0.0"
    p95: str = ""
    queue: str = "0"
    since: str = ""
    spark: str = ""
    expected_s: float | None = None
    loading_for_s: float = 0.0
    slot: int = 0
    place: int = 0

    def __str__(self) -> str:
        return f"{self.model} v{self.version}"

    @property
    def shown_state_word(self) -> str:
        return str(STATE_WORDS[self.state])

    @property
    def hue(self) -> int:
        """1 to 8; the 9th slot takes 1 again."""
        return (self.slot - 1) % HUES + 1 if self.slot else 0

    @property
    def is_moving(self) -> bool:
        return self.state in MOVING_STATES

    @property
    def is_on_the_way(self) -> bool:
        return self.state in {"queued", "loading", "restarting"}

    @property
    def is_locked(self) -> bool:
        """It cannot be changed now: something runs or is about to, or the check has not ended."""
        return self.state not in {"unloaded", "failed", "rejected"}

    @property
    def why_tone(self) -> str:
        return TONES.get(self.state, "")

    @property
    def unload_word(self) -> str:
        return _UNLOAD_WORDS.get(self.state, "Unload")

    @property
    def is_cancellable(self) -> bool:
        """The button cancels a load; it must not unload the model if it was loaded meanwhile."""
        return self.unload_word == "Cancel"

    @property
    def can_load(self) -> bool:
        return self.rights.can_load and self.state in {"unloaded", "failed"}

    @property
    def can_unload(self) -> bool:
        return self.rights.can_unload and self.state in {"loaded", *_UNLOAD_WORDS}

    @property
    def can_try(self) -> bool:
        return self.rights.can_predict and self.state == "loaded"

    @property
    def can_correct_labels(self) -> bool:
        return self.can_change and self.state == "rejected" and self.remedy == Remedy.LABELS

    @property
    def can_upload_again(self) -> bool:
        return self.rights.can_add and self.state == "rejected" and not self.can_correct_labels

    @property
    def can_trust(self) -> bool:
        """Only where the check without the allow-list may end otherwise."""
        return self.rights.can_trust and self.state == "rejected" and self.remedy == Remedy.TRUST

    @property
    def can_delete(self) -> bool:
        return self.rights.can_delete and self.state in {"unloaded", "failed", "rejected"}

    @property
    def is_deletable(self) -> bool:
        """By those who may, who are asked first; the page of one that is checked offers no button for it."""
        return self.can_delete or self.state == "checking"

    @property
    def can_change(self) -> bool:
        return self.rights.can_change and not self.is_locked

    @property
    def url(self) -> str:
        return reverse("admin:models_app_modelversion_change", args=[self.pk])


def version_row(
    version: ModelVersion,
    rights: Rights,
    *,
    places: Places | None = None,
    slots: Mapping[int, int] | None = None,
    now: datetime | None = None,
) -> VersionRow:
    """The row of a version that `find.versions()` fetched: no further query if `places` are given.

    `slots`: primary key of an instance → its slot, on the wall only.
    """
    now = now or timezone.now()
    places = queue_places() if places is None else places
    instances = version.shown_instances
    state = shown_state(version)
    owned = [i for i in instances if i.state in OWNED]
    ready = [i for i in instances if i.state == InstanceState.READY]
    rates = sum_of_rates(ready)
    loading = _first(instances, InstanceState.LOADING)
    first = next(iter(ready or owned), None)
    latencies = [i.p95_ms for i in ready if i.p95_ms is not None]
    loaded_since = [i.loaded_at for i in ready if i.loaded_at is not None]
    return VersionRow(
        pk=version.pk,
        model=version.model.name,
        version=version.number,
        state=state,
        state_detail=state_sentence(version, state, places, now),
        status=version.status,
        rights=rights,
        remedy=version.remedy,
        format=FORMATS[version.format].word if version.format else "",
        size=size_words(version.size_bytes),
        engine_selected=(first.engine if first and first.engine else version.engine_selected),
        precision=(first.precision if first and first.engine else version.precision),
        device=first.device if first else "",
        memory=size_words(sum(i.memory_bytes or 0 for i in owned) or None),
        device_memory=_device_memory(owned),
        requests=count_words(sum(i.requests for i in ready)),
        rps=rate_words(rates[-1] if rates else 0),
        rps_max=rate_words(max(rates, default=0)),
        p95=milliseconds_words(max(latencies)) if latencies else "",
        queue=count_words(sum(i.queue_depth for i in ready)),
        since=duration_words((now - min(loaded_since)).total_seconds()) if loaded_since else "",
        spark=spark_points(rates),
        expected_s=version.last_load_seconds,
        loading_for_s=round((now - loading.state_since).total_seconds(), 1) if loading else 0.0,
        slot=next((slots[i.pk] for i in owned if i.pk in slots), 0) if slots else 0,
        place=min((places[i.pk].number for i in instances if i.pk in places), default=0),
    )


def shown_state(version: ModelVersion) -> str:
    return str(version.state) if version.status == FileStatus.READY else str(version.status)


def state_sentence(version: ModelVersion, state: str, places: Places, now: datetime) -> str:
    """The reason beside the state; empty where there is nothing to say."""
    instances = version.shown_instances
    if state == FileStatus.CHECKING:
        return _check_sentence(version, now)
    if state == FileStatus.REJECTED:
        return version.status_detail
    if state == VersionState.QUEUED:
        waiting = _first(instances, InstanceState.QUEUED)
        place = places.get(waiting.pk) if waiting else None
        if place is None or place.has_slot:
            return "It is about to start."
        text = f"Place {place.number} of {place.total}: it loads as soon as a slot is free."
        if keeps_older(version, place):
            text += " What it replaces keeps its slot until it is ready: unload another model to make room."
        return text
    if state == VersionState.LOADING:
        return _loading_sentence(version, _first(instances, InstanceState.LOADING), now)
    if state == VersionState.UNLOADING:
        return "Its process is ending; running requests are finished first."
    wanted = {"loaded": "ready"}.get(state, state)
    return next((i.state_detail for i in instances if i.state == wanted and i.state_detail), "")


def _check_sentence(version: ModelVersion, now: datetime) -> str:
    jobs = sorted((job for job in version.jobs.all() if job.kind == JobKind.CHECK), key=lambda job: job.pk)
    if not jobs or jobs[-1].started_at is None:
        return "Waiting to be checked."
    detail = (jobs[-1].detail or "The file is being checked").rstrip(".")
    return f"{detail}, {short_seconds((now - jobs[-1].started_at).total_seconds())}."


def _loading_sentence(version: ModelVersion, instance: Instance | None, now: datetime) -> str:
    seconds = (now - instance.state_since).total_seconds() if instance else 0.0
    last = version.last_load_seconds
    text = f"Loading for {short_seconds(seconds)}" + (f"; last time it took {short_seconds(last)}." if last else ".")
    return f"{instance.state_detail} {text}" if instance and instance.state_detail else text


def sum_of_rates(instances: Sequence[Instance]) -> list[float]:
    """Requests a second of all instances together, one point each 15 s, the newest last."""
    rates = [i.rates for i in instances if i.rates]
    length = max(map(len, rates), default=0)
    padded = [[0.0] * (length - len(points)) + [float(p) for p in points] for points in rates]
    return [sum(column) for column in zip(*padded, strict=True)]


def spark_points(rates: Sequence[float]) -> str:
    """The points of a line in a box of 60 × 20, the last five minutes from left to right, on a scale of its own."""
    shown = [*[0.0] * (SPARK_POINTS - len(rates)), *rates][-SPARK_POINTS:]
    top = max(shown) or 1.0
    step = 60 / (SPARK_POINTS - 1)
    return " ".join(f"{index * step:.1f},{19 - 16 * rate / top:.1f}" for index, rate in enumerate(shown))


def _device_memory(instances: Sequence[Instance]) -> str:
    known = [i for i in instances if i.device_memory_bytes]
    if not known:
        return ""
    estimated = " (estimated)" if any(i.device_memory_estimated for i in known) else ""
    return f"+ {size_words(sum(i.device_memory_bytes or 0 for i in known))} GPU{estimated}"


def _first(instances: Sequence[Instance], state: InstanceState) -> Instance | None:
    return next((i for i in instances if i.state == state), None)
