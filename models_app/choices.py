"""The states: values, words, colours, allowed moves and groups. The whole state machine in one file.

A version's file is checked once:

    checking ──► ready        checking ──► rejected        rejected | ready ──► checking (trusted, or changed)

An instance is one loaded copy of a version in one process:

    queued ──► loading ──► ready ──► unloading ──► stopped
      ▲           │  ▲       │            ▲
      │           ▼  │       ▼            │
      │         restarting ◄─┘    (queued, loading, restarting ──► unloading | stopped: cancelled)
      │
      └── loading, ready, restarting: the portal stopped or the owner died, and the copy is still wanted

    loading, ready, restarting ──► failed ──► stopped (dismissed by an unload)

Web processes write what is wanted (queued, unloading, queued or failed ──► stopped); the worker that owns the process
writes what happened.
"""

from __future__ import annotations

from django.db import models


class FileStatus(models.TextChoices):
    CHECKING = "checking", "Checking"
    READY = "ready", "Ready"
    REJECTED = "rejected", "Rejected"


class Remedy(models.TextChoices):
    """What helps a rejected file."""

    UPLOAD = "upload", "Another file"
    TRUST = "trust", "Somebody who trusts it"
    LABELS = "labels", "Other labels"


class InstanceState(models.TextChoices):
    QUEUED = "queued", "Queued"
    LOADING = "loading", "Loading"
    READY = "ready", "Ready"
    RESTARTING = "restarting", "Restarting"
    UNLOADING = "unloading", "Unloading"
    STOPPED = "stopped", "Stopped"
    FAILED = "failed", "Failed"


class VersionState(models.TextChoices):
    """The state of a version as a whole; derived from its instances, never stored."""

    UNLOADED = "unloaded", "Unloaded"
    QUEUED = "queued", "Queued"
    LOADING = "loading", "Loading"
    LOADED = "loaded", "Loaded"
    RESTARTING = "restarting", "Restarting"
    UNLOADING = "unloading", "Unloading"
    FAILED = "failed", "Failed"


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class JobKind(models.TextChoices):
    CHECK = "check", "Check of the file"
    CONVERT = "convert", "Conversion"
    COMPARE = "compare", "Comparison of the engines"
    CHOOSE = "choose", "Choice of the engine"


LONG_JOBS = (JobKind.CONVERT, JobKind.COMPARE, JobKind.CHOOSE)
"""Run one at a time, in this order of priority: two measurements at once would disturb each other."""
PENDING_JOBS = (JobState.QUEUED, JobState.RUNNING)


class KeyScope(models.TextChoices):
    PREDICT = "predict", "Predict"
    MANAGE = "manage", "Manage"


_S = InstanceState
ALLOWED_MOVES: dict[InstanceState, frozenset[InstanceState]] = {
    _S.QUEUED: frozenset({_S.LOADING, _S.STOPPED}),
    _S.LOADING: frozenset({_S.READY, _S.RESTARTING, _S.UNLOADING, _S.FAILED, _S.QUEUED}),
    _S.READY: frozenset({_S.RESTARTING, _S.UNLOADING, _S.FAILED, _S.QUEUED}),
    _S.RESTARTING: frozenset({_S.LOADING, _S.UNLOADING, _S.FAILED, _S.QUEUED}),
    _S.UNLOADING: frozenset({_S.STOPPED}),
    _S.FAILED: frozenset({_S.STOPPED}),
    _S.STOPPED: frozenset(),
}

OWNED = frozenset({_S.LOADING, _S.READY, _S.RESTARTING, _S.UNLOADING})
"""A worker owns the instance: there is, was or will be a process."""
LIVE = OWNED | {_S.QUEUED}
"""Wanted or still there; a version with one of these is in use."""
ENDED = frozenset({_S.STOPPED, _S.FAILED})

MOVING_STATES = frozenset({"checking", "queued", "loading", "restarting", "unloading"})
"""States that a page shows in motion and polls every two seconds."""

_PRECEDENCE: tuple[tuple[InstanceState, VersionState], ...] = (
    (_S.READY, VersionState.LOADED),
    (_S.LOADING, VersionState.LOADING),
    (_S.RESTARTING, VersionState.RESTARTING),
    (_S.QUEUED, VersionState.QUEUED),
    (_S.UNLOADING, VersionState.UNLOADING),
    (_S.FAILED, VersionState.FAILED),
)


def version_state(instance_states: list[str]) -> VersionState:
    """Loaded if any instance is ready, else the most advanced of the others, else unloaded."""
    for instance_state, state in _PRECEDENCE:
        if instance_state in instance_states:
            return state
    return VersionState.UNLOADED


TONES = {"failed": "bad", "rejected": "bad", "restarting": "warn"}
"""Colour of the sentence beside a state; the badge has the state's own class."""
