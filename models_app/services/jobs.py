"""Jobs: background work. A job whose worker was lost is queued again once, then failed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_q.brokers import get_broker

from inference.errors import is_disk_full
from inference.host.processes import is_alive
from models_app import queue
from models_app.choices import LONG_JOBS, PENDING_JOBS, FileStatus, JobKind, JobState
from models_app.models import Job, ModelVersion
from models_app.services.check import check, fail_where_rejected, reject, request_check
from models_app.services.checked_ends import has_same_ends
from models_app.services.choose import choose, compare_fully, give_up
from models_app.services.convert import convert
from models_app.services.database_retry import with_retries, without_waiting
from models_app.services.dispatch import claim, dispatch, dispatch_next, queue_cut_off
from models_app.services.outcome import JobFailed, Outcome, Progress

logger = logging.getLogger("portal.jobs")
MOST_ATTEMPTS = 2
LOST_AFTER = timedelta(seconds=60)


class _Deleted(Exception):
    """The job's version is gone, and the job with it: nobody waits for the outcome."""


class _CutOff(Exception):
    """The cluster stops: the job begins again at the next start."""


def run(job_pk: int, is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Do the job unless another process did or does. What it raises is logged; the row gets a constant sentence.

    Where `is_stopping`, the job is cut off within some seconds and queued again, without counting an attempt. Where the
    database stays unavailable this process ends, and the job is recovered as cut off.
    """
    try:
        job = claim(job_pk)
        if job is not None:
            _do(job, is_stopping)
    except DatabaseError:
        logger.exception("the database does not take what became of job %d; its worker ends", job_pk)
        connection.close()
        raise SystemExit(1) from None


def _do(job: Job, is_stopping: Callable[[], bool]) -> None:
    def say(percent: int, detail: str) -> None:
        if is_stopping():
            raise _CutOff
        _say(job.pk, percent, detail)

    try:
        outcome = _DO[JobKind(job.kind)](job, say)
    except _CutOff:
        with_retries(lambda: queue_cut_off(pk=job.pk, pid=job.pid))
        return
    except _Deleted:
        _say_that_it_is_gone(job)
    except JobFailed as failure:
        _end(job, functools.partial(_fail, job, str(failure)))
    except OperationalError:  # says nothing about the file
        raise
    except Exception as error:
        if with_retries(lambda: Job.objects.filter(pk=job.pk).exists()):
            logger.exception("job %d failed", job.pk)
            _end(job, functools.partial(_fail, job, _sentence_for(error)))
        else:  # its files are gone too
            _say_that_it_is_gone(job)
    else:
        _end(job, functools.partial(_finish, job, outcome))
    with_retries(dispatch_next)


def _end(job: Job, write: Callable[[], None]) -> None:
    """Store how the job ended, unless it has to begin again."""

    def end() -> None:
        with transaction.atomic():
            if job.kind not in LONG_JOBS or not _begins_again(job):
                write()

    with_retries(end)


def _begins_again(job: Job) -> bool:
    """Queue a long job again where the version has other ends or is being checked by now: who asked for the job
    meanwhile was told that it is on its way. Not where the file was rejected."""
    now = ModelVersion.objects.select_for_update().filter(pk=job.version_id).first()
    if now is None or now.status == FileStatus.REJECTED or has_same_ends(job.version, now):
        return False
    sentence = "Waiting to begin again: a check of the file came between."
    return bool(_running(job).update(state=JobState.QUEUED, pid=None, detail=sentence))


def _running(job: Job) -> QuerySet[Job]:
    """Its row, if it still runs in the worker that `job` names."""
    return Job.objects.filter(pk=job.pk, state=JobState.RUNNING, pid=job.pid)


def _say(job_pk: int, percent: int, detail: str) -> None:
    """Store the job's progress. Raises _Deleted where the job is gone, which ends its process too."""
    if without_waiting(lambda: Job.objects.filter(pk=job_pk).update(progress=percent, detail=detail)) == 0:
        raise _Deleted


def _say_that_it_is_gone(job: Job) -> None:
    logger.info("job %d ended with its version", job.pk)


def _finish(job: Job, outcome: Outcome) -> None:
    _running(job).update(
        state=JobState.DONE,
        progress=100,
        detail=outcome.sentence,
        result=outcome.result,
        finished_at=timezone.now(),
    )


def _sentence_for(error: Exception) -> str:
    if is_disk_full(error):
        return "The disk is full. Delete versions that nobody needs and try again."
    return "The job met an error of the portal's own; its log tells more."


def recover_interrupted() -> None:
    """Queue jobs again, once, that are marked as running although their worker is gone; then fail them."""
    for job in Job.objects.filter(state=JobState.RUNNING):
        worker = job.worker
        if worker is not None and is_alive(worker):
            continue
        if job.attempts + 1 >= MOST_ATTEMPTS:
            _fail(job, "The job was cut off twice.")
            dispatch_next()
            continue
        if _running(job).update(state=JobState.QUEUED, attempts=job.attempts + 1, pid=None):
            fail_where_rejected(job.version)
            dispatch(job)


def recover() -> None:
    """At the start of the jobs cluster: jobs marked as running were cut off, and earlier deliveries are lost."""
    recover_interrupted()
    with transaction.atomic():
        waiting = Job.objects.filter(kind=JobKind.CHECK, state__in=PENDING_JOBS)
        for version in ModelVersion.objects.filter(status=FileStatus.CHECKING).exclude(jobs__in=waiting):
            request_check(version, by=None)
    for job in Job.objects.filter(state=JobState.QUEUED).exclude(kind__in=LONG_JOBS):
        dispatch(job)
    dispatch_next()


def dispatch_lost() -> None:
    """Dispatch jobs again that wait for long although the broker's queue is empty: their delivery was lost.

    After the clock went back by an hour the broker holds back for an hour what it was given before.
    """
    if not queue.is_there(settings.JOBS_CLUSTER) or get_broker(settings.JOBS_CLUSTER).queue_size():
        return
    now = timezone.now()
    # A job dated later than now counts as old: the clock went back.
    just_now = {"created_at__gte": now - LOST_AFTER, "created_at__lte": now}
    for job in Job.objects.filter(state=JobState.QUEUED).exclude(**just_now):
        dispatch(job)


@transaction.atomic
def _fail(job: Job, detail: str) -> None:
    """Fail the job unless it has ended, and settle its version: no check or measurement stays open for ever."""
    has_failed = _running(job).update(state=JobState.FAILED, detail=detail, finished_at=timezone.now())
    if has_failed and job.kind == JobKind.CHECK:
        reject(job.version, f"The check did not end: {detail} Upload the file again.")
    if has_failed and job.kind == JobKind.CHOOSE:
        give_up(job.version)


_DO: dict[JobKind, Callable[[Job, Progress], Outcome]] = {
    JobKind.CHECK: check,
    JobKind.CONVERT: convert,
    JobKind.COMPARE: compare_fully,
    JobKind.CHOOSE: choose,
}
