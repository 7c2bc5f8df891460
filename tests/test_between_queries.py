"""What is deleted, unloaded or finished between two queries of a request: told as what it is, and nothing is left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from inference.errors import NotLoaded
from models_app.choices import FileStatus, InstanceState, JobKind, JobState
from models_app.models import Instance, Job, ModelVersion, RegisteredModel, Transition
from models_app.services import delete, jobs, unload
from models_app.services.delete import delete_model
from models_app.services.find import loaded_version
from tests.interleaved import just_before
from tests.registry import make_user, make_version

pytestmark = pytest.mark.django_db
INSTANCES = 'FROM "models_app_instance" WHERE "models_app_instance"."version_id" IN'


def test_the_last_instance_ends_while_its_version_is_looked_up() -> None:
    make_version("cats", InstanceState.READY)

    def end() -> None:
        Instance.objects.update(state=InstanceState.STOPPED)

    with just_before(INSTANCES, end), pytest.raises(NotLoaded):
        loaded_version("cats", None)


def test_a_model_is_deleted_while_its_description_is_changed() -> None:
    make_version("cats")
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))

    with just_before('UPDATE "models_app_registeredmodel"', lambda: RegisteredModel.objects.all().delete()):
        answer = client.patch("/api/models/cats/", {"description": "of cats"}, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_an_upload_while_the_description_is_changed_in_the_admin_keeps_its_number() -> None:
    model = make_version("cats").model
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))

    with just_before('UPDATE "models_app_registeredmodel"', lambda: make_version("cats")):
        client.post(f"/admin/models_app/registeredmodel/{model.pk}/change/", {"description": "of cats"})

    model.refresh_from_db()
    assert (model.description, model.last_number) == ("of cats", 2)


def test_a_version_that_comes_while_its_model_is_unloaded_to_be_deleted_goes_too(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    version = make_version("cats")

    def unload_slowly(*arguments: Any, **options: Any) -> Any:
        make_version("cats")
        return unload.unload(*arguments, **options)

    monkeypatch.setattr(delete, "unload", unload_slowly)
    with django_capture_on_commit_callbacks() as removals:
        delete_model(version.model, by=make_user(), unload_first=True)

    assert not ModelVersion.objects.exists()
    assert sorted(Transition.objects.filter(after="deleted").values_list("version_number", flat=True)) == [1, 2]
    assert len(removals) == 2, "the files of both"


def test_a_job_that_ends_while_it_is_given_up_has_ended() -> None:
    version = make_version("cats", status=FileStatus.CHECKING)
    long_ago = timezone.now() - timedelta(hours=1)
    job = Job.objects.create(
        kind=JobKind.CHECK, version=version, state=JobState.RUNNING, attempts=1, pid=1, pid_started_at=1, boot_id="x",
        started_at=long_ago,
    )  # fmt: skip

    def end() -> None:
        Job.objects.update(state=JobState.DONE)
        ModelVersion.objects.update(status=FileStatus.READY)

    with just_before('UPDATE "models_app_job" SET "state"', end):
        jobs.recover_interrupted()

    job.refresh_from_db()
    assert (job.state, ModelVersion.objects.get().status) == (JobState.DONE, FileStatus.READY)


@pytest.mark.parametrize("attempts", [0, 1])
def test_a_job_that_another_worker_takes_meanwhile_is_left_to_it(attempts: int) -> None:
    version = make_version("cats", status=FileStatus.CHECKING)
    job = Job.objects.create(
        kind=JobKind.CHECK, version=version, state=JobState.RUNNING, attempts=attempts, pid=1, pid_started_at=1,
        boot_id="x",
    )  # fmt: skip

    with just_before('UPDATE "models_app_job" SET "state"', lambda: Job.objects.update(pid=2)):
        jobs.recover_interrupted()

    job.refresh_from_db()
    assert (job.state, job.attempts, job.pid) == (JobState.RUNNING, attempts, 2)
    assert ModelVersion.objects.get().status == FileStatus.CHECKING
