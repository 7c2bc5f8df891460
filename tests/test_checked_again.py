"""A file that is checked again is understood anew: nothing that was made of it, or found out about it, stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ

from models_app.choices import LONG_JOBS, FileStatus, JobKind, JobState
from models_app.models import Comparison, Conversion, Job, ModelVersion
from models_app.services import files, jobs
from models_app.services.change import change_version
from models_app.services.check import reject
from models_app.services.choose import settle
from models_app.services.convert import request_conversion
from models_app.services.dispatch import claim, dispatch_next, request
from models_app.services.trust import trust
from tests.engine_rows import make_comparison
from tests.faults.small_models import workbench
from tests.interleaved import just_before
from tests.registry import NUMBERS, SCORES, make_version

pytestmark = pytest.mark.django_db(transaction=True)
PROGRESS = 'UPDATE "models_app_job" SET "progress"'


@pytest.fixture
def version(settings: Any, tmp_path: Path) -> ModelVersion:
    """Of an ONNX file, which needs no TensorFlow, as if it were a graph of which an end was chosen: only a check would
    refuse that, and by then it is not chosen any more."""
    for name in ("FILES", "RUN"):
        setattr(settings, f"PORTAL_{name}_DIR", tmp_path / name.lower())
    source = workbench(tmp_path / "workbench.onnx")
    signature = {"inputs": [{**NUMBERS, "name": "x"}], "outputs": [{**SCORES, "name": "y"}]}
    made = make_version(
        format="onnx",
        engine_selected="onnxruntime",
        sha256=files.hash_of(source),
        signature_json=signature,
        options_json={"graph_outputs": ["z"]},
    )
    made.directory.mkdir(parents=True)
    shutil.copyfile(source, made.path)
    return made


def change_ends(version: ModelVersion) -> None:
    change_version(version, {"options": {}}, by=None)


def check(version: ModelVersion) -> None:
    jobs.run(Job.objects.get(version=version, kind=JobKind.CHECK).pk)
    assert ModelVersion.objects.get(pk=version.pk).status == FileStatus.READY


@contextmanager
def meanwhile(*acts: Callable[[ModelVersion], None], version: ModelVersion) -> Iterator[None]:
    """Within this block these are done when a job says for the first time how far it is."""
    left = list(acts)

    def wrapper(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        while PROGRESS in sql and left:
            left.pop(0)(version)
        return execute(sql, *arguments)

    with connection.execute_wrapper(wrapper):
        yield
    assert not left


def test_nothing_that_was_made_of_the_file_stays(version: ModelVersion) -> None:
    made = version.directory / "converted" / "openvino", files.compiled_directory(version) / "tuned.json"
    for path in made:
        path.parent.mkdir()
        path.touch()
    Conversion.objects.create(version=version, format="openvino")
    make_comparison(version)

    change_ends(version)

    assert [path for path in version.directory.rglob("*") if path.is_file()] == [version.path]
    assert not Conversion.objects.exists() and not Comparison.objects.exists(), "a twin would take them"


@pytest.mark.parametrize("is_checked", [True, False], ids=["checked-again", "still-being-checked"])
@pytest.mark.parametrize("kind", [JobKind.CONVERT, JobKind.CHOOSE, JobKind.COMPARE])
def test_what_a_job_made_of_the_old_ends_is_thrown_away_and_it_begins_again(
    version: ModelVersion, kind: JobKind, is_checked: bool
) -> None:
    job = Job.objects.create(kind=kind, version=version, target="openvino" if kind == JobKind.CONVERT else "")

    with meanwhile(*[change_ends, check][: 1 + is_checked], version=version):
        jobs.run(job.pk)
    if not is_checked:
        check(version)

    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED
    assert not Conversion.objects.exists() and not Comparison.objects.exists()
    assert ModelVersion.objects.get(pk=version.pk).engine_reason.endswith("the others are measured")

    jobs.run(job.pk)

    assert Job.objects.get(pk=job.pk).state == JobState.DONE
    assert (Conversion if kind == JobKind.CONVERT else Comparison).objects.filter(version=version).exists()


@pytest.mark.parametrize("kind", [JobKind.CONVERT, JobKind.CHOOSE, JobKind.COMPARE])
def test_a_job_begins_again_where_the_file_is_trusted_meanwhile(version: ModelVersion, kind: JobKind) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(options_json={})
    job = Job.objects.create(kind=kind, version=version, target="openvino" if kind == JobKind.CONVERT else "")

    with meanwhile(lambda version: trust(version, "It is ours.", by=None), check, version=version):
        jobs.run(job.pk)

    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED

    jobs.run(job.pk)

    assert Job.objects.get(pk=job.pk).state == JobState.DONE


def test_it_fails_where_the_file_was_rejected(version: ModelVersion) -> None:
    job = request_conversion(version, "openvino", by=None)

    with meanwhile(change_ends, lambda version: reject(version, "It is no model."), version=version):
        jobs.run(job.pk)

    assert Job.objects.get(pk=job.pk).state == JobState.FAILED
    assert not Conversion.objects.exists()


@pytest.mark.parametrize("kind", LONG_JOBS)
def test_a_long_job_that_waits_fails_at_once_where_the_file_is_rejected(version: ModelVersion, kind: JobKind) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(**settle(version, by=None))
    job = request(kind, version, by=None, detail="")
    change_ends(version)

    reject(version, "It is no model.")

    job.refresh_from_db()
    assert (job.state, job.detail) == (JobState.FAILED, "The file was rejected: It is no model.")
    assert job.finished_at is not None
    assert ModelVersion.objects.get(pk=version.pk).engine_reason.endswith("the others could not be measured")


def test_a_long_job_that_was_cut_off_fails_where_the_file_was_rejected(version: ModelVersion) -> None:
    job = request_conversion(version, "openvino", by=None)
    change_ends(version)
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, boot_id="earlier")
    reject(version, "It is no model.")

    jobs.recover_interrupted()

    job.refresh_from_db()
    assert (job.state, job.detail) == (JobState.FAILED, "The file was rejected: It is no model.")


@pytest.mark.parametrize("status", [FileStatus.CHECKING, FileStatus.REJECTED])
def test_no_long_job_of_a_file_that_did_not_pass_is_taken(version: ModelVersion, status: FileStatus) -> None:
    job = request_conversion(version, "openvino", by=None)
    ModelVersion.objects.filter(pk=version.pk).update(status=status)
    OrmQ.objects.all().delete()

    dispatch_next()

    assert claim(job.pk) is None and not OrmQ.objects.exists()


def test_a_long_job_is_done_with_the_ends_that_passed(version: ModelVersion) -> None:
    job = request_conversion(version, "openvino", by=None)

    with just_before('UPDATE "models_app_job" SET "state"', lambda: change_ends(version)):
        taken = claim(job.pk)

    assert taken is not None
    assert (taken.version.status, taken.version.options_json) == (FileStatus.READY, {"graph_outputs": ["z"]})


def test_a_long_job_waits_while_its_file_is_checked(version: ModelVersion) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(engine="onnxruntime")  # which asks for no job after the check
    job = request_conversion(version, "openvino", by=None)
    change_ends(version)
    OrmQ.objects.all().delete()

    dispatch_next()
    assert claim(job.pk) is None and not OrmQ.objects.exists()

    check(version)
    assert OrmQ.objects.exists()
    assert claim(job.pk) is not None
