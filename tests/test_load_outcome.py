"""What becomes of a load, as those who wait for it are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.errors import LoadFailed, NotFound, NotLoaded
from models_app.api.shapes import version_json
from models_app.choices import InstanceState, VersionState
from models_app.models import Instance
from models_app.services import find
from models_app.services.load import load, wait_until_loaded
from models_app.services.unload import receipt_of, unload
from tests.registry import make_version

pytestmark = pytest.mark.django_db
S = InstanceState


@pytest.fixture(autouse=True)
def _own_bell(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_DATA_DIR = tmp_path


def test_what_is_loaded_is_answered_at_once() -> None:
    version = make_version("digits", S.READY)

    assert wait_until_loaded(version, 60).state is VersionState.LOADED


@pytest.mark.parametrize("state", [S.QUEUED, S.LOADING, S.RESTARTING])
def test_what_is_still_on_its_way_is_answered_as_it_is(state: InstanceState) -> None:
    version = make_version("digits", state)

    assert wait_until_loaded(version, 0).state == state


def test_a_load_that_failed_is_an_error_with_the_reason() -> None:
    version = make_version("digits", S.FAILED)
    Instance.objects.update(state_detail="There is no memory left.")

    with pytest.raises(LoadFailed, match="no memory"):
        wait_until_loaded(version, 60)


@pytest.mark.parametrize("before", [S.QUEUED, S.LOADING, S.RESTARTING])
def test_a_load_that_an_unload_cancelled_is_an_error_and_not_on_its_way(before: InstanceState) -> None:
    version = make_version("digits", before)

    unload([version], by=None, wait_s=0)

    with pytest.raises(NotLoaded, match="cancelled: somebody unloaded"):
        wait_until_loaded(version, 60)


def test_a_load_of_what_was_deleted_meanwhile_is_not_found() -> None:
    version = make_version("digits", S.QUEUED)
    version.model.delete()

    with pytest.raises(NotFound, match="digits v1 was deleted meanwhile"):
        wait_until_loaded(version, 60)


def test_a_load_after_an_unload_is_on_its_way_again() -> None:
    version = make_version("digits", S.READY)
    unload([version], by=None, wait_s=0)

    assert load(version, by=None).state is VersionState.QUEUED


def test_the_receipt_of_a_model_names_the_version_where_only_one_was_loaded() -> None:
    versions = [make_version("digits", S.STOPPED), make_version("digits", S.STOPPED)]
    ended = list(Instance.objects.order_by("pk"))

    assert receipt_of("digits", versions, ended[:1])["version"] == 1  # the other had failed before
    assert receipt_of("digits", versions, ended)["version"] is None


def test_what_waits_for_a_slot_says_its_place() -> None:
    make_version("digits", S.QUEUED)
    second = make_version("flowers", S.QUEUED)

    assert version_json(second)["state_detail"] == "place 2 of 2"


def test_what_has_left_the_queue_meanwhile_says_no_place() -> None:
    version = find.again(make_version("digits", S.QUEUED))
    make_version("flowers", S.QUEUED)

    Instance.objects.filter(version=version).update(state=S.LOADING)

    assert (version_json(version)["state"], version_json(version)["state_detail"]) == ("queued", "")
