"""Long jobs run one at a time: two that measure at once measure each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ

from models_app.choices import JobKind, JobState
from models_app.models import Job
from models_app.services.dispatch import MOST_ENDED, claim, request
from models_app.services.jobs import recover_interrupted
from tests.registry import make_version

pytestmark = pytest.mark.django_db(transaction=True)


def make_job(kind: JobKind) -> Job:
    return Job.objects.create(kind=kind, version=make_version())


def test_a_second_long_job_is_not_taken_while_one_runs() -> None:
    first, second, check = make_job(JobKind.CHOOSE), make_job(JobKind.COMPARE), make_job(JobKind.CHECK)

    assert claim(first.pk) is not None
    assert claim(first.pk) is None, "somebody does it"
    assert claim(second.pk) is None
    assert claim(check.pk) is not None, "a check never waits for a measurement"

    Job.objects.filter(pk=first.pk).update(state=JobState.DONE)
    assert claim(second.pk) is not None


@pytest.mark.parametrize("kind", [JobKind.CHOOSE, JobKind.CHECK])
def test_the_next_long_job_begins_at_once_where_a_job_was_cut_off_twice(kind: JobKind) -> None:
    first, second = make_job(kind), make_job(JobKind.COMPARE)
    Job.objects.filter(pk=first.pk).update(state=JobState.RUNNING, attempts=1, boot_id="earlier")

    recover_interrupted()

    first.refresh_from_db()
    assert first.state == JobState.FAILED
    assert [delivery.task["args"] for delivery in OrmQ.objects.filter(key=settings.JOBS_CLUSTER)] == [(second.pk,)]


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="its transactions never overlap: try DATABASE_URL=postgres://"
)
@pytest.mark.parametrize("same", [True, False], ids=["the-same-job", "two-jobs"])
def test_of_two_workers_that_take_a_long_job_at_once_one_gets_it(same: bool) -> None:
    for _ in range(20):
        first = make_job(JobKind.COMPARE)
        second = first if same else make_job(JobKind.COMPARE)
        both_are_ready = Barrier(2)

        def take_at_once(job: Job, both_are_ready: Barrier = both_are_ready) -> bool:
            connection.ensure_connection()
            both_are_ready.wait(10)
            try:
                return claim(job.pk) is not None
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as workers:
            taken = list(workers.map(take_at_once, (first, second)))

        assert sorted(taken) == [False, True]
        Job.objects.update(state=JobState.DONE)


def test_a_version_keeps_the_last_ended_jobs_of_each_kind_and_those_that_wait() -> None:
    version = make_version()
    check = Job.objects.create(kind=JobKind.CHECK, version=version, state=JobState.DONE)
    for _ in range(MOST_ENDED + 5):
        failed = request(JobKind.CONVERT, version, by=None, detail="", target="onnx")
        Job.objects.filter(pk=failed.pk).update(state=JobState.FAILED)

    waiting = request(JobKind.CONVERT, version, by=None, detail="", target="onnx")

    kept = list(version.jobs.values_list("pk", flat=True))
    assert len(kept) == MOST_ENDED + 2
    assert {check.pk, failed.pk, waiting.pk} <= set(kept)
