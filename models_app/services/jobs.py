"""Jobs: work with an end. A job that was cut off is queued again once, then failed."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.brokers import get_broker

from models_app import queue
from models_app.choices import FileStatus, JobKind, JobState
from models_app.models import Job, ModelVersion
from models_app.services.check import check, request_check

logger = logging.getLogger("portal.jobs")
MOST_ATTEMPTS = 2
LOST_AFTER = timedelta(seconds=60)


def run(job_pk: int) -> None:
    """Do the job unless somebody did or does. What it raises is logged, and kept as a constant sentence."""
    started = Job.objects.filter(pk=job_pk, state=JobState.QUEUED).update(
        state=JobState.RUNNING, started_at=timezone.now(), progress=0
    )
    if not started:
        return
    job = Job.objects.select_related("version__model").get(pk=job_pk)
    try:
        detail = _DO[JobKind(job.kind)](job.version, lambda percent, text: _say(job_pk, percent, text))
    except Exception:
        logger.exception("job %d failed", job_pk)
        _fail(job, "The job met an error of the portal's own; its log tells more.")
        return
    Job.objects.filter(pk=job_pk).update(state=JobState.DONE, progress=100, detail=detail, finished_at=timezone.now())


def _say(job_pk: int, percent: int, detail: str) -> None:
    """Where a job stands, for those who watch."""
    Job.objects.filter(pk=job_pk).update(progress=percent, detail=detail)


def recover() -> None:
    """At the start of the jobs cluster: nothing runs yet, so what says it runs was cut off."""
    with transaction.atomic():
        for job in Job.objects.select_for_update().filter(state__in=[JobState.RUNNING, JobState.QUEUED]):
            if job.state == JobState.RUNNING:
                if job.attempts + 1 >= MOST_ATTEMPTS:
                    _fail(job, "The job was cut off twice.")
                    continue
                Job.objects.filter(pk=job.pk).update(state=JobState.QUEUED, attempts=job.attempts + 1)
            transaction.on_commit(lambda job=job: queue.run_job(job))  # type: ignore[misc]
        waiting = Job.objects.filter(kind=JobKind.CHECK, state__in=[JobState.QUEUED, JobState.RUNNING])
        for version in ModelVersion.objects.filter(status=FileStatus.CHECKING).exclude(jobs__in=waiting):
            request_check(version, by=None)


def hand_out_lost() -> None:
    """Jobs that wait for long although the broker has nothing to do: their delivery was lost. Twice does no harm.

    After the clock went back by an hour the broker holds back for as long what it was given before.
    """
    if get_broker(settings.JOBS_CLUSTER).queue_size():
        return
    now = timezone.now()
    just_now = {"created_at__gte": now - LOST_AFTER, "created_at__lte": now}  # made later than now: the clock went back
    for job in Job.objects.filter(state=JobState.QUEUED).exclude(**just_now):
        queue.run_job(job)


def _fail(job: Job, detail: str) -> None:
    Job.objects.filter(pk=job.pk).update(state=JobState.FAILED, detail=detail, finished_at=timezone.now())
    if job.kind == JobKind.CHECK:
        ModelVersion.objects.filter(pk=job.version_id, status=FileStatus.CHECKING).update(
            status=FileStatus.REJECTED, status_detail=f"The check did not end: {detail} Upload the file again."
        )


_DO = {JobKind.CHECK: check}
