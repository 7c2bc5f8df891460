"""Work that goes on behind a version: what runs or waits, with its progress, and what ended badly, with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.catalog import FORMATS
from models_app.choices import LONG_JOBS, PENDING_JOBS, JobKind, JobState
from models_app.models import Comparison, Conversion, Job

_TITLES = {JobKind.COMPARE: "Comparison of the engines", JobKind.CHOOSE: "Choice of the engine"}


@dataclass(frozen=True, slots=True)
class Work:
    """`progress` in per cent; `verb` is the address that tries it again, `target` the format of a conversion."""

    title: str
    state: str
    detail: str
    progress: int
    verb: str
    target: str = ""

    @property
    def is_failed(self) -> bool:
        return self.state == JobState.FAILED

    @property
    def is_waiting(self) -> bool:
        return self.state == JobState.QUEUED

    @property
    def word(self) -> str:
        return "waiting" if self.is_waiting else self.state


def pending(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.kind in LONG_JOBS and job.state in PENDING_JOBS]


def background_work(
    jobs: Iterable[Job], conversions: Sequence[Conversion], comparison: Comparison | None
) -> tuple[Work, ...]:
    """The last job of each kind and format, oldest first; of those that have ended only failures not made good since.

    A choice in progress is left out, as it is a step of the check (steps.py). Needs no query.
    """
    last: dict[tuple[str, str], Job] = {}
    for job in sorted(jobs, key=lambda one: one.pk):
        if job.kind in LONG_JOBS:
            last[job.kind, job.target] = job
    known = {conversion.format for conversion in conversions}
    rows = sorted(last.values(), key=lambda job: job.pk)
    return tuple(_work(job) for job in rows if _is_under_way(job) or _is_open(job, known, comparison))


def _is_under_way(job: Job) -> bool:
    return job.kind != JobKind.CHOOSE and job.state in PENDING_JOBS


def _is_open(job: Job, known: set[str], comparison: Comparison | None) -> bool:
    """Whether it failed and what it was to make is still missing."""
    if job.state != JobState.FAILED:
        return False
    if job.kind == JobKind.CONVERT:
        return job.target not in known
    ended = job.finished_at or job.created_at
    return comparison is None or comparison.measured_at < ended


def _work(job: Job) -> Work:
    if job.kind == JobKind.CONVERT:
        title = f"Conversion to {FORMATS[job.target].word}"
        return Work(title, job.state, job.detail, job.progress, "make", job.target)
    return Work(_TITLES[JobKind(job.kind)], job.state, job.detail, job.progress, str(job.kind))
