"""`import_model` registers what is on the server already, and says in a sentence why it does not."""

from __future__ import annotations

import fcntl
import os
import pwd
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django_q.models import OrmQ

from models_app.choices import FileStatus, JobState
from models_app.models import Job, ModelVersion, RegisteredModel
from models_app.services import jobs
from tests.conftest import SAMPLE
from tests.running_portal import RunningPortal

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str | Path) -> str:
    out = StringIO()
    call_command("import_model", *map(str, arguments), stdout=out)
    return out.getvalue()


def refused(*arguments: str | Path) -> str:
    """What it says where it exits with 1. Nothing may be left behind."""
    err = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("import_model", *map(str, arguments), stderr=err)
    assert end.value.code == 1
    assert not ModelVersion.objects.exists()
    assert list(settings.PORTAL_UPLOADS_DIR.glob("*")) == [] if settings.PORTAL_UPLOADS_DIR.exists() else True
    return err.getvalue()


def test_a_file_becomes_a_model_that_waits_for_its_check() -> None:
    said = run("numbers", SAMPLE, "--description", "Digits.", "--preset", "unit")

    version = ModelVersion.objects.get(model__name="numbers")
    assert "numbers, version 1" in said
    assert version.number == 1
    assert version.status == FileStatus.CHECKING
    assert version.preprocessing_json["preset"] == "unit"
    assert version.model.description == "Digits."
    assert version.path.read_bytes() == SAMPLE.read_bytes()
    assert OrmQ.objects.filter(key=settings.JOBS_CLUSTER).count() == 1


def test_the_original_stays_where_it_was(tmp_path: Path) -> None:
    mine = tmp_path / "mine.keras"
    mine.write_bytes(SAMPLE.read_bytes())

    run("numbers", mine)

    assert mine.read_bytes() == SAMPLE.read_bytes()
    assert list(settings.PORTAL_UPLOADS_DIR.glob("*")) == []


def test_an_existing_name_gets_a_new_version() -> None:
    run("numbers", SAMPLE)

    said = run("numbers", SAMPLE)

    assert "version 2" in said
    assert list(ModelVersion.objects.order_by("number").values_list("number", flat=True)) == [1, 2]
    assert RegisteredModel.objects.count() == 1


def test_labels_are_read_from_lines_and_from_json(tmp_path: Path) -> None:
    lines, listed = tmp_path / "lines.txt", tmp_path / "list.json"
    lines.write_text("zero\none\n", "utf-8")
    listed.write_text('["zero", "one"]', "utf-8")

    run("numbers", SAMPLE, "--labels", lines)
    run("numbers", SAMPLE, "--labels", listed)

    assert [v.labels for v in ModelVersion.objects.all()] == [["zero", "one"], ["zero", "one"]]


def test_without_a_running_portal_the_next_start_takes_the_check_up() -> None:
    said = run("numbers", SAMPLE)
    OrmQ.objects.all().delete()  # the broker may have forgotten it by then

    jobs.recover()

    assert "does not run" in said
    assert Job.objects.get(version__model__name="numbers").state == JobState.QUEUED
    assert OrmQ.objects.filter(key=settings.JOBS_CLUSTER).count() == 1


def test_beside_a_running_portal_it_says_that_the_check_has_begun() -> None:
    with (settings.PORTAL_DATA_DIR / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as `serve` does

        assert "is being checked now" in run("numbers", SAMPLE)


def test_who_does_not_own_the_data_directory_is_told_who_does(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PORTAL_FILES_DIR.mkdir(exist_ok=True)
    owner = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 12345)

    with pytest.raises(ImproperlyConfigured) as refusal:
        run("numbers", SAMPLE)

    assert str(refusal.value) == f"Run this as the user {owner}, to whom the data directory belongs."
    assert not ModelVersion.objects.exists()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    said = refused("numbers", tmp_path / "gone.keras")

    assert "gone.keras" in said
    assert str(tmp_path) not in said


def test_a_store_that_cannot_be_written_to_is_a_sentence(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_FILES_DIR = tmp_path / "files"
    settings.PORTAL_FILES_DIR.write_bytes(b"")

    assert refused("numbers", SAMPLE) == f"{SAMPLE.name} cannot be kept: Not a directory.\n"


def test_a_path_that_the_system_refuses_is_a_sentence() -> None:
    assert refused("numbers", "x" * 300) == f"{'x' * 300} cannot be copied: File name too long.\n"


def test_a_description_that_is_no_text_in_utf_8_is_refused() -> None:
    assert "The description is a text" in refused("numbers", SAMPLE, "--description", "caf\udce9")


def test_a_database_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    portal = RunningPortal(tmp_path, DATABASE_URL="postgres://u:p@127.0.0.1:1/portal")

    ended = portal.manage("import_model", "numbers", str(SAMPLE))

    assert ended.returncode == 1
    assert ended.stderr.startswith("The database cannot be used: ") and len(ended.stderr.splitlines()) == 1


def test_a_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert ".zip" in refused("numbers", tmp_path)


@pytest.mark.parametrize("name", ["has space", "a/b", "x" * 101, "ü"])
def test_a_wrong_name_is_refused(name: str) -> None:
    assert "letters, digits, hyphens and underscores" in refused(name, SAMPLE)


def test_labels_that_are_no_text_are_refused(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_bytes(b"\xff\xfe\x00")

    assert "UTF-8" in refused("numbers", SAMPLE, "--labels", labels)


def test_missing_labels_are_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused("numbers", SAMPLE, "--labels", tmp_path / "none.txt")


def test_a_description_is_for_new_models_only() -> None:
    run("numbers", SAMPLE)
    err = StringIO()

    with pytest.raises(SystemExit):
        call_command("import_model", "numbers", str(SAMPLE), "--description", "New.", stderr=err)

    assert "keeps its description" in err.getvalue()
    assert ModelVersion.objects.count() == 1
