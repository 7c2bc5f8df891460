"""A file that is not what was uploaded: whoever loads, checks or converts it is told what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.errors import LoadFailed
from models_app.choices import JobKind
from models_app.models import Job, ModelVersion
from models_app.services import files
from models_app.services.convert import convert_version
from models_app.services.engine_file import file_for
from models_app.services.outcome import JobFailed
from tests.registry import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(settings: Any, tmp_path: Path) -> ModelVersion:
    settings.PORTAL_FILES_DIR = tmp_path
    version = make_version(format="onnx", engine_selected="onnxruntime")
    version.directory.mkdir(parents=True)
    version.path.write_bytes(b"a model")
    version.sha256 = files.hash_of(version.path)
    return version


def change(path: Path) -> None:
    path.write_bytes(b"another model")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change, "The file on disk is not the one that was uploaded. Put that back, or upload it again."),
        (Path.unlink, "The file is gone from the disk. Put it back, or upload it again."),
        (replace_by_folder, "The file on disk cannot be read: Is a directory."),
    ],
)
def test_it_is_said_what_became_of_the_file(version: ModelVersion, spoil: Any, said: str) -> None:
    assert file_for(version, "onnxruntime") is not None
    spoil(version.path)
    job = Job(kind=JobKind.CONVERT, version=version, target="openvino")

    with pytest.raises(LoadFailed) as loading:
        file_for(version, "onnxruntime")
    with pytest.raises(JobFailed) as converting:
        convert_version(job, ["openvino"], lambda percent, sentence: None)

    assert loading.value.message == str(converting.value) == said
