"""History as sentences: what happened to which version, when, who asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from models_app.models import ModelVersion, Transition
from models_app.pages.words import ago_words, moment_words, size_words

_DROPPED = ("was ", "is ")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a timeline. `tone` colours its dot; `model` and `url` are empty on the version's own page."""

    tone: str
    model: str
    text: str
    at: str
    iso: str
    by: str = ""
    url: str = ""


def recent_events(transitions: Sequence[Transition], now: datetime) -> tuple[Event, ...]:
    """For the wall: with the name of the version, which is a link where the version still exists. One query."""
    pks = _pks_of_versions(transitions)
    events = []
    for row in transitions:
        tone, text = sentence(row)
        pk = pks.get((row.model_name, row.version_number))
        url = reverse("admin:models_app_modelversion_change", args=[pk]) if pk else ""
        name = f"{row.model_name} v{row.version_number}"
        events.append(Event(tone, name, text, ago_words(row.at, now), row.at.isoformat(), row.by, url))
    return tuple(events)


def history_events(transitions: Sequence[Transition], now: datetime) -> tuple[Event, ...]:
    """For the page of one version: sentences that begin with what happened."""
    events = []
    for row in transitions:
        tone, text = sentence(row)
        for word in _DROPPED:
            text = text.removeprefix(word)
        text = text[:1].upper() + text[1:]
        events.append(Event(tone, "", text, moment_words(row.at, now), row.at.isoformat(), row.by))
    return tuple(events)


def _pks_of_versions(transitions: Sequence[Transition]) -> Mapping[tuple[str, int], int]:
    names = {row.model_name for row in transitions}
    found = ModelVersion.objects.filter(model__name__in=names).values_list("model__name", "number", "pk")
    return {(name, number): pk for name, number, pk in found}


def sentence(row: Transition) -> tuple[str, str]:
    """Tone and predicate: what stands after the version's name."""
    if row.before == row.after:
        return "", _changed(row)
    if row.after == "ready":
        return "ok", "was checked and is ready." if row.before == "checking" else _begun_small(row.reason)
    if row.after == "stopped":
        return "ok", _stopped(row)
    return _SENTENCES.get(row.after, _other)(row)


def _changed(row: Transition) -> str:
    """With the pages' own word for the setting that REST calls postprocessing."""
    has_scores = "postprocessing" in row.facts.get("changed", ())
    reason = row.reason.replace("postprocessing", "scores") if has_scores else row.reason
    return f"was {_begun_small(reason)}" if reason else "was changed."


def _stopped(row: Transition) -> str:
    if row.before == "queued":
        return "was taken out of the queue."
    return "is no longer shown as failed." if row.before == "failed" else _begun_small(row.reason)


def _uploaded(row: Transition) -> tuple[str, str]:
    size_bytes = row.facts.get("size_bytes")
    return "", "was uploaded." if size_bytes is None else f"was uploaded, {size_words(size_bytes)}."


def _checking(row: Transition) -> tuple[str, str]:
    return "go", f"is checked again. {row.reason}".strip()


def _queued(row: Transition) -> tuple[str, str]:
    return "wait", f"waits to be loaded again: {_begun_small(row.reason)}" if row.before else "was put into the queue."


def _failed(row: Transition) -> tuple[str, str]:
    verb = "could not be loaded" if row.before == "loading" else "failed"
    return "bad", f"{verb}: {_begun_small(row.reason)}"


def _other(row: Transition) -> tuple[str, str]:
    return "", f"is {row.after} now. {row.reason}".strip()


_SENTENCES: dict[str, Callable[[Transition], tuple[str, str]]] = {
    "uploaded": _uploaded,
    "checking": _checking,
    "rejected": lambda row: ("bad", f"was rejected: {_begun_small(row.reason)}"),
    "queued": _queued,
    "loading": lambda row: ("go", "is started again." if row.before == "restarting" else "is loading."),
    "restarting": lambda row: ("warn", f"restarts: {_begun_small(row.reason)}"),
    "unloading": lambda row: ("go", "is being unloaded."),
    "failed": _failed,
    "deleted": lambda row: ("", "was deleted."),
}


def _begun_small(text: str) -> str:
    """A sentence as it goes on after a colon or a name; abbreviations keep their capitals."""
    return text if len(text) < 2 or text[1].isupper() else text[0].lower() + text[1:]
