"""A version that is to take the place of what serves: the wish lasts until it came true, failed or was withdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from inference.errors import NoSlot, NotFound
from models_app.api.shapes import version_json
from models_app.choices import FileStatus, InstanceState, JobState, VersionState
from models_app.models import Job, ModelVersion, Node
from models_app.pages.version_row import state_sentence
from models_app.services import files, find, jobs, replace, upload
from models_app.services.load import load
from models_app.services.nodes import this_node
from models_app.services.places import queue_places
from models_app.services.supervise import claim
from models_app.services.unload import unload
from tests.conftest import SAMPLE
from tests.registry import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_DATA_DIR = tmp_path
    settings.PORTAL_FILES_DIR = tmp_path / "models"
    settings.PORTAL_UPLOADS_DIR = tmp_path / "uploads"


def put(name: str = "digits") -> ModelVersion:
    """Registered to replace what serves; its check waits."""
    use = upload.VersionSettings(engine="tensorflow")
    return upload.register(name, files.receive_copy(SAMPLE, "m.keras"), use, by=None, replaces_older=True)


def checked(version: ModelVersion) -> ModelVersion:
    """What the check does at its end where the file is good."""
    be_ready(version)
    replace.begin(version, by=None)
    return fresh(version)


def be_ready(version: ModelVersion) -> None:
    facts = {"format": "keras", "engine_selected": "tensorflow"}
    ModelVersion.objects.filter(pk=version.pk).update(status=FileStatus.READY, **facts)


def await_it(version: ModelVersion) -> ModelVersion:
    """What the request that put it answers, after five seconds at the latest."""
    return replace.await_replacement(version, by=None, deadline=time.monotonic() + 5)


def fresh(version: ModelVersion) -> ModelVersion:
    return ModelVersion.objects.get(pk=version.pk)


def loaded(version: ModelVersion) -> None:
    """What its keeper does when its process says that it has loaded."""
    version.instances.update(state=InstanceState.READY)
    replace.finish(fresh(version), by=None)


def test_it_is_loaded_after_its_check_although_nobody_waits() -> None:
    older = make_version("digits", InstanceState.READY)
    version = put()

    jobs.run(version.jobs.get().pk)

    assert (fresh(version).status, fresh(version).state) == (FileStatus.READY, VersionState.QUEUED)
    assert fresh(older).state is VersionState.LOADED


def test_once_it_is_ready_the_older_ones_are_unloaded() -> None:
    older = make_version("digits", InstanceState.READY)
    version = checked(put())

    loaded(version)

    assert fresh(older).state is VersionState.UNLOADING
    assert not fresh(version).replaces_older


def test_where_its_own_older_version_has_the_last_slot_both_are_told() -> None:
    make_version("digits", InstanceState.READY)
    Node.objects.update(slots=1)

    waiting = fresh(checked(put()))

    said = version_json(find.again(waiting))["state_detail"]
    assert said == "place 1 of 1; what it replaces keeps its slot until it is ready"
    sentence = state_sentence(find.again(waiting), "queued", queue_places(), timezone.now())
    assert sentence.endswith("until it is ready: unload another model to make room.")
    another = make_version("letters", InstanceState.QUEUED)
    assert version_json(find.again(another))["state_detail"] == "place 2 of 2"


def has_no_slot(version: ModelVersion) -> None:
    Node.objects.filter(pk=this_node().pk).update(slots=0)
    checked(version)


def is_cut_off(version: ModelVersion) -> None:
    Job.objects.update(attempts=1, state=JobState.RUNNING)
    jobs.recover_interrupted()


def is_rejected(version: ModelVersion) -> None:
    version.path.write_bytes(b"no model")
    jobs.run(version.jobs.get().pk)


def does_not_load(version: ModelVersion) -> None:
    instance = checked(version).instances.get()
    reporter = claim(instance.pk, instance.generation)
    assert reporter is not None
    reporter.failed("There is no memory left.")


@pytest.mark.parametrize("fails", [has_no_slot, is_cut_off, is_rejected, does_not_load])
def test_a_wish_that_failed_is_over_and_a_later_load_unloads_nothing(fails: Callable[[ModelVersion], None]) -> None:
    older = make_version("digits", InstanceState.READY)
    version = put()

    fails(version)
    be_ready(version)
    Node.objects.update(slots=8)
    load(fresh(version), by=None)
    loaded(version)

    assert (fresh(older).state, fresh(version).state) == (VersionState.LOADED, VersionState.LOADED)


def test_where_it_cannot_be_loaded_at_once_the_wish_is_over_too() -> None:
    """The same file was sent again: its check is not waited for."""
    older, version = make_version("digits", InstanceState.READY), make_version("digits")
    Node.objects.update(slots=0)

    replace.wish(version, instances=1)
    with pytest.raises(NoSlot):
        await_it(version)
    Node.objects.update(slots=8)
    load(fresh(version), by=None)
    loaded(version)

    assert (fresh(older).state, fresh(version).state) == (VersionState.LOADED, VersionState.LOADED)


def test_of_two_that_come_one_after_the_other_the_newer_one_serves_alone_whichever_is_checked_first() -> None:
    older, newer = put(), put()

    loaded(checked(newer))
    checked(older)
    seen = await_it(older)

    assert (seen.status, seen.state) == (FileStatus.READY, VersionState.UNLOADED)
    assert fresh(newer).state is VersionState.LOADED


def test_an_unload_during_the_check_withdraws_the_wish() -> None:
    older = make_version("digits", InstanceState.READY)
    version = put()

    unload([version], by=None, wait_s=0)
    checked(version)
    seen = await_it(version)

    assert (seen.status, seen.state, seen.number) == (FileStatus.READY, VersionState.UNLOADED, version.number)
    assert fresh(older).state is VersionState.LOADED
    load(fresh(version), by=None)
    loaded(version)
    assert fresh(older).state is VersionState.LOADED


def test_an_unload_of_the_model_means_the_version_that_waits_for_its_check_too() -> None:
    older = make_version("digits", InstanceState.READY)
    version = put()

    found = find.what_to_unload(older.model)

    assert [v.number for v in found] == [version.number, older.number]


def test_who_waits_is_told_why_it_cannot_be_loaded() -> None:
    version = put()

    has_no_slot(version)

    with pytest.raises(NoSlot):
        await_it(version)


def test_who_waits_is_told_that_it_was_deleted() -> None:
    version = put()
    ModelVersion.objects.all().delete()

    with pytest.raises(NotFound, match="digits v1 was deleted meanwhile"):
        await_it(version)
