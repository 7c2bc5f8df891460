"""A database that a newer version of the portal has changed is left alone, with a sentence that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from models_app.models import ModelVersion
from models_app.schema import refuse_newer
from tests.conftest import SAMPLE
from tests.running_portal import RunningPortal

NEWER = (
    "This data directory was written by a newer version of the portal (models_app 0999_future). "
    "Start that one, or restore a backup from before."
)


@pytest.mark.django_db
def test_the_database_of_this_version_is_taken() -> None:
    refuse_newer()


@pytest.mark.django_db
def test_migrations_that_other_apps_no_longer_have_do_not_matter() -> None:
    MigrationRecorder(connection).record_applied("auth", "0999_future")

    refuse_newer()


@pytest.mark.django_db
def test_nothing_is_imported_into_a_newer_database() -> None:
    MigrationRecorder(connection).record_applied("models_app", "0999_future")

    with pytest.raises(ImproperlyConfigured) as refusal:
        call_command("import_model", "numbers", str(SAMPLE))

    assert str(refusal.value) == NEWER
    assert not ModelVersion.objects.exists()


def test_an_older_version_does_not_start_on_the_database_of_a_newer_one(tmp_path: Path) -> None:
    portal = RunningPortal(tmp_path / "data")
    assert portal.manage("migrate").returncode == 0
    with sqlite3.connect(portal.data_dir / "portal.sqlite3") as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, ?)",
            ("models_app", "0999_future", "2030-01-01"),
        )

    ended = portal.manage("serve")

    assert (ended.returncode, ended.stderr) == (1, f"{NEWER}\n")
