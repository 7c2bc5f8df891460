"""The formats in which a version can be downloaded: made, not made yet, being made, or impossible and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.catalog import FORMATS
from models_app.choices import FileStatus, JobKind, JobState
from models_app.models import Conversion, Job, ModelVersion
from models_app.pages.background_work import pending
from models_app.pages.words import size_words


@dataclass(frozen=True, slots=True)
class Download:
    """`state` is made, missing, pending, failed or impossible; `sentence` says why it is not there."""

    format: str
    word: str
    state: str
    size: str = ""
    sentence: str = ""
    progress: int = 0
    is_waiting: bool = False


def downloads(version: ModelVersion, conversions: Sequence[Conversion], jobs: Iterable[Job]) -> tuple[Download, ...]:
    """One for each format that the file can be converted to; none before it is ready. Needs no query."""
    if version.status != FileStatus.READY:
        return ()
    made = {conversion.format: conversion for conversion in conversions}
    last: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda one: one.pk):
        if job.kind == JobKind.CONVERT:
            last[job.target] = job
    targets = [target for target in FORMATS[version.format].targets if target != version.format]
    return tuple(_download(target, made.get(target), last.get(target)) for target in targets)


def _download(target: str, conversion: Conversion | None, job: Job | None) -> Download:
    word = FORMATS[target].word
    if conversion is not None and conversion.is_made:
        return Download(target, word, "made", size=size_words(conversion.size_bytes))
    if conversion is not None:
        return Download(target, word, "impossible", sentence=conversion.sentence)
    if job is not None and pending([job]):
        is_waiting = job.state == JobState.QUEUED
        return Download(target, word, "pending", sentence=job.detail, progress=job.progress, is_waiting=is_waiting)
    if job is not None and job.state == JobState.FAILED:
        return Download(target, word, "failed", sentence=job.detail)
    return Download(target, word, "missing")
