"""The store of files on a volume of its own: what is moved there is copied, and what fails leaves nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from models_app.choices import JobKind
from models_app.models import Conversion, Job, ModelVersion
from models_app.services import files, upload
from models_app.services.convert import convert_version
from models_app.services.delete import delete_version
from models_app.services.outcome import JobFailed
from tests.faults.small_models import workbench
from tests.registry import make_version

pytestmark = pytest.mark.django_db(transaction=True)
VOLUMES = Path("/dev/shm")


@pytest.fixture
def volume(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """The store, on another file system than uploads and workspaces."""
    if VOLUMES.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs two file systems")
    for name in ("UPLOADS", "RUN"):
        setattr(settings, f"PORTAL_{name}_DIR", tmp_path / name.lower())
    with tempfile.TemporaryDirectory(dir=VOLUMES) as folder:
        settings.PORTAL_FILES_DIR = Path(folder)
        yield settings.PORTAL_FILES_DIR


@pytest.fixture
def job(volume: Path, tmp_path: Path) -> Job:
    source = workbench(tmp_path / "workbench.onnx")
    version = make_version("workbench", format="onnx", sha256=files.hash_of(source))
    version.directory.mkdir()
    shutil.copyfile(source, version.path)
    return Job.objects.create(kind=JobKind.CONVERT, version=version, target="openvino")


def test_an_upload_comes_to_another_volume(volume: Path) -> None:
    received = files.receive_bytes(b"a model", "a.onnx")

    version = upload.create_model("a", received, upload.VersionSettings(), by=None)

    assert version.path.read_bytes() == b"a model"
    assert version.path.stat().st_mode & 0o777 == 0o600
    assert list(version.directory.iterdir()) == [version.path]
    assert not received.path.exists()


def test_an_upload_that_cannot_be_moved_leaves_no_folder(volume: Path) -> None:
    received = files.receive_bytes(b"a model", "a.onnx")
    received.discard()

    with pytest.raises(FileNotFoundError):
        upload.create_model("a", received, upload.VersionSettings(), by=None)

    assert list(volume.iterdir()) == []


def test_no_file_is_copied_while_the_database_is_held(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite takes no other change until the transaction ends, and a file may have gigabytes."""
    copied_while_held = []
    copy = shutil.copyfile

    def copyfile(*given: Any, **how: Any) -> Any:
        copied_while_held.append(connection.in_atomic_block)
        return copy(*given, **how)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    made = convert_version(job, ["openvino"], lambda percent, sentence: None)["openvino"]

    assert isinstance(made, Conversion) and files.is_unchanged(made.path, made.sha256)
    assert copied_while_held and not any(copied_while_held)
    assert sorted(path.name for path in job.version.directory.iterdir()) == ["converted", "source"]


def test_a_version_that_is_deleted_while_it_is_converted_is_told_as_such(job: Job) -> None:
    directory = job.version.directory

    def delete(percent: int, sentence: str) -> None:
        if ModelVersion.objects.filter(pk=job.version_id).exists():
            delete_version(job.version, by=None)

    with pytest.raises(JobFailed, match="deleted"):
        convert_version(job, ["openvino"], delete)

    assert not directory.exists()
