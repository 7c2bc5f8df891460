"""Dispatching jobs: a check at once, long work one at a time, so that a check never waits behind a measurement."""

from __future__ import annotations

import os

from django.db import transaction
from django.db.models import Case, Value, When
from django.utils import timezone

from inference.host.processes import identify
from models_app import queue
from models_app.choices import LONG_JOBS, PENDING_JOBS, FileStatus, JobKind, JobState
from models_app.models import Job, ModelVersion
from models_app.services.actor import Actor, actor_name
from models_app.services.find import lock

MOST_ENDED = 10
"""How many ended jobs of one kind and target a version keeps: each load of a file that cannot be converted asks for
another conversion, and every list of versions reads them all."""
_URGENCY = Case(*(When(kind=kind, then=Value(place)) for place, kind in enumerate(LONG_JOBS)), default=Value(0))


def request(kind: JobKind, version: ModelVersion, *, by: Actor, detail: str, target: str = "") -> Job:
    """Queue a job; for long work, return one that waits or runs already."""
    with transaction.atomic():
        lock(version)
        if kind in LONG_JOBS:
            pending = pending_job(version, kind, target)
            if pending is not None:
                return pending
        _forget_oldest(version, kind, target)
        job = Job.objects.create(kind=kind, version=version, target=target, by=actor_name(by), detail=detail)
        transaction.on_commit(lambda: dispatch(job), robust=True)  # where the broker is away: jobs.dispatch_lost
    return job


def _forget_oldest(version: ModelVersion, kind: JobKind, target: str) -> None:
    jobs = Job.objects.filter(version=version, kind=kind, target=target).exclude(state__in=PENDING_JOBS)
    kept = jobs.order_by("-pk")[:MOST_ENDED]
    jobs.exclude(pk__in=[job.pk for job in kept]).delete()


def pending_job(version: ModelVersion, kind: JobKind, target: str = "") -> Job | None:
    return Job.objects.filter(version=version, kind=kind, target=target, state__in=PENDING_JOBS).first()


def dispatch(job: Job) -> None:
    """Give the job to the broker; for long work, the one whose turn it is. Doing so twice does no harm."""
    if job.kind in LONG_JOBS:
        dispatch_next()
    else:
        queue.run_job(job)


def dispatch_next() -> None:
    """Give the broker the long job whose turn it is, unless one runs. Jobs of a file that is being checked wait: an
    engine opens only what passed."""
    long_jobs = Job.objects.filter(kind__in=LONG_JOBS)
    if long_jobs.filter(state=JobState.RUNNING).exists():
        return
    able = long_jobs.filter(state=JobState.QUEUED, version__status=FileStatus.READY)
    job = able.order_by(_URGENCY, "pk").first()
    if job is not None:
        queue.run_job(job)


def forget_workers() -> None:
    """At the start of the portal, before any cluster: workers named in rows have ended, or belong to the portal that
    this directory was copied from. Their jobs are recovered as cut off."""
    Job.objects.filter(state=JobState.RUNNING).update(pid=None)


def queue_cut_off(**which: object) -> None:
    """At an orderly stop: queue the running jobs (those of `which`, or all) for the next start, without counting an
    attempt. Else two restarts during a check would reject a good file."""
    detail = "Waiting to begin again: the portal was stopped."
    running = Job.objects.filter(state=JobState.RUNNING, **which)
    running.update(state=JobState.QUEUED, pid=None, progress=0, detail=detail)


def claim(job_pk: int) -> Job | None:
    """Make this process the worker of the job; None where another did or does it, or a long job has to wait."""
    me = identify(os.getpid())
    assert me is not None
    with transaction.atomic():
        job = Job.objects.select_related("version__model").filter(pk=job_pk, state=JobState.QUEUED).first()
        if job is None or (job.kind in LONG_JOBS and (not _is_ready(job) or _is_one_running())):
            return None
        job.pid, job.pid_started_at, job.boot_id = me.pid, me.started_at, me.boot_id
        changed = Job.objects.filter(pk=job_pk, state=JobState.QUEUED).update(
            state=JobState.RUNNING,
            started_at=timezone.now(),
            progress=0,
            pid=job.pid,
            pid_started_at=job.pid_started_at,
            boot_id=job.boot_id,
        )
    return job if changed else None  # with its version as it was read, which may have changed since


def _is_ready(job: Job) -> bool:
    return job.version.status == FileStatus.READY


def _is_one_running() -> bool:
    """Whether a long job runs. Locks those pending, so that nobody else takes one until the transaction ends."""
    long_jobs = Job.objects.filter(kind__in=LONG_JOBS)
    pks = long_jobs.filter(state__in=PENDING_JOBS).order_by("pk").values_list("pk", flat=True)
    list(pks.select_for_update())
    return long_jobs.filter(state=JobState.RUNNING).exists()  # read once they are locked
