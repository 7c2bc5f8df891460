"""Jobs beside a database that is held or away: what they found is kept, and no good file is rejected for it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from inference.workspace import Workspace
from models_app.choices import FileStatus, JobKind, JobState
from models_app.models import Job, ModelVersion
from models_app.services import database_retry, jobs
from models_app.services.delete import delete_version
from tests.faults.small_models import adder
from tests.refused_writes import refused

pytestmark = pytest.mark.django_db(transaction=True)
PROGRESS = 'UPDATE "models_app_job" SET "progress"'
THE_END_OF_A_JOB = '"finished_at" = '
THE_END_OF_A_CHECK = 'UPDATE "models_app_modelversion" SET "status"'


@pytest.fixture
def check(tmp_path: Path) -> Job:
    """The job that checks a good file."""
    call_command("import_model", "adds", str(adder(tmp_path / "adder.zip", 1)), "--engine", "openvino")
    return Job.objects.get(kind=JobKind.CHECK)


def test_progress_that_cannot_be_written_costs_nothing(check: Job) -> None:
    with refused(PROGRESS, times=100) as asked:
        jobs.run(check.pk)

    assert len(asked) > 1
    assert outcome(check) == (JobState.DONE, FileStatus.READY)


@pytest.mark.parametrize("write", [THE_END_OF_A_JOB, THE_END_OF_A_CHECK])
def test_what_a_job_found_waits_until_the_database_takes_it(check: Job, write: str) -> None:
    with refused(write, times=2) as asked:
        jobs.run(check.pk)

    assert len(asked) == 3
    assert outcome(check) == (JobState.DONE, FileStatus.READY)


@pytest.mark.parametrize("write", [THE_END_OF_A_JOB, THE_END_OF_A_CHECK])
def test_where_the_database_stays_away_the_worker_ends_and_the_job_is_taken_up_again(
    check: Job, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    monkeypatch.setattr(database_retry, "RETRY_FOR_S", 0)

    with refused(write, times=100), pytest.raises(SystemExit):
        jobs.run(check.pk)

    check.refresh_from_db()
    assert (check.state, check.pid) == (JobState.RUNNING, os.getpid())
    assert check.version.status in {FileStatus.CHECKING, FileStatus.READY}

    Job.objects.update(boot_id="earlier")  # its worker has ended
    jobs.recover_interrupted()
    jobs.run(check.pk)

    assert outcome(check) == (JobState.DONE, FileStatus.READY)


def test_a_job_is_cut_off_by_a_stop_and_begins_again_without_counting_an_attempt(check: Job) -> None:
    jobs.run(check.pk, is_stopping=lambda: True)

    check.refresh_from_db()
    assert outcome(check) == (JobState.QUEUED, FileStatus.CHECKING)
    assert (check.pid, check.attempts) == (None, 0)

    jobs.run(check.pk)
    assert outcome(check) == (JobState.DONE, FileStatus.READY)


def test_a_worker_that_loses_the_database_when_it_takes_a_job_does_not_keep_it(check: Job) -> None:
    with refused('INNER JOIN "models_app_modelversion"', times=1), pytest.raises(SystemExit):
        jobs.run(check.pk)

    assert outcome(check) == (JobState.QUEUED, FileStatus.CHECKING)


def test_a_version_that_is_deleted_when_its_check_begins_is_no_error(
    check: Job, caplog: pytest.LogCaptureFixture
) -> None:
    def delete_once_begun(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        done = execute(sql, *arguments)
        if PROGRESS in sql:
            delete_version(check.version, by=None)
        return done

    with caplog.at_level(logging.INFO), connection.execute_wrapper(delete_once_begun):
        jobs.run(check.pk)

    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "portal.jobs"]
    assert told == [("INFO", f"job {check.pk} ended with its version")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_job_that_meets_a_full_disk_says_so(check: Job, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_room(*_: object) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Workspace, "prepare", no_room)
    jobs.run(check.pk)

    check.refresh_from_db()
    assert (check.state, check.detail[:17]) == (JobState.FAILED, "The disk is full.")


def test_a_job_fails_together_with_its_check_or_not_at_all(check: Job) -> None:
    Job.objects.update(state=JobState.RUNNING, attempts=1, boot_id="earlier")

    for write in (THE_END_OF_A_JOB, THE_END_OF_A_CHECK):
        with refused(write, times=1), pytest.raises(OperationalError):
            jobs.recover_interrupted()
        assert outcome(check) == (JobState.RUNNING, FileStatus.CHECKING)
    jobs.recover_interrupted()

    assert outcome(check) == (JobState.FAILED, FileStatus.REJECTED)


def outcome(job: Job) -> tuple[str, str]:
    return Job.objects.get(pk=job.pk).state, ModelVersion.objects.get(pk=job.version_id).status
