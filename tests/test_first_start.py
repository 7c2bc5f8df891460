"""What the first start makes, also on a disk that has no room for the sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from inference.errors import NoSlot
from models_app.api.shapes import version_json
from models_app.models import Instance, RegisteredModel
from models_app.rights import Rights
from models_app.services import files
from models_app.services.load import load
from models_app.services.nodes import this_node
from portal import first_start
from tests.registry import make_version


@pytest.mark.django_db
def test_a_sample_that_does_not_fit_is_a_sentence_and_comes_with_a_later_start(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_FILES_DIR, settings.PORTAL_UPLOADS_DIR = tmp_path / "models", tmp_path / "uploads"
    settings.PORTAL_FILES_DIR.mkdir()
    with monkeypatch.context() as small:
        small.setattr(files, "DISK_RESERVE_BYTES", 2**60)
        said = list(first_start.prepare())
        missing = not RegisteredModel.objects.exists()

    list(first_start.prepare())

    assert missing
    assert said[-1].startswith("The sample was not registered: To take this file, the disk must have ")
    assert RegisteredModel.objects.get().name == "digits"


@pytest.mark.django_db
def test_a_person_gets_rights_by_one_of_three_groups_and_who_deletes_one_keeps_it_so(settings: Any) -> None:
    settings.PORTAL_SAMPLE = False
    list(first_start.prepare())

    rights = {}
    for group in Group.objects.all():
        person = User.objects.create_user(group.name)
        person.groups.add(group)
        rights[group.name] = Rights.of(person)
    Group.objects.get(name="Run models").delete()
    list(first_start.prepare())

    asks = Rights(can_view=True, can_predict=True)
    runs = replace(asks, can_load=True, can_unload=True)
    assert rights == {
        "Ask models": asks,
        "Run models": runs,
        "Manage models": replace(
            runs, can_add=True, can_change=True, can_delete=True, can_change_model=True, can_delete_model=True
        ),
    }
    assert {group.name for group in Group.objects.all()} == {"Ask models", "Manage models"}


@pytest.mark.django_db
def test_a_start_without_slots_loads_nothing_and_says_so_of_what_waits(settings: Any) -> None:
    settings.PORTAL_SLOTS = 8
    version = make_version("digits")
    Instance.objects.create(version=version, node=this_node(), state_since=timezone.now())

    settings.PORTAL_SLOTS = 0
    list(first_start.prepare())

    assert version_json(version)["state_detail"].startswith("This node has no slots for models.")
    with pytest.raises(NoSlot):
        load(make_version("other"), by=None, wait_s=0, instances=1)
