"""Two versions of the very same file share what was converted from it, unless that was damaged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from models_app.choices import JobKind
from models_app.models import Conversion, Job, ModelVersion
from models_app.services import files
from models_app.services.convert import convert_version
from tests.faults.small_models import workbench
from tests.registry import make_version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def twins(settings: Any, tmp_path: Path) -> tuple[ModelVersion, ModelVersion]:
    """Two versions of one ONNX file; nothing is converted yet."""
    for name in ("FILES", "RUN"):
        setattr(settings, f"PORTAL_{name}_DIR", tmp_path / name.lower())
    source = workbench(tmp_path / "workbench.onnx")
    first, second = (make_version("twins", format="onnx", sha256=files.hash_of(source)) for _ in range(2))
    for version in (first, second):
        version.directory.mkdir(parents=True)
        shutil.copyfile(source, version.path)
    return first, second


def test_what_was_converted_for_one_is_linked_for_the_other(twins: tuple[ModelVersion, ModelVersion]) -> None:
    first, second = (converted(version) for version in twins)

    assert first.path.samefile(second.path)
    assert second.sha256 == first.sha256


def test_a_damaged_file_is_made_anew_and_never_handed_from_twin_to_twin(
    twins: tuple[ModelVersion, ModelVersion],
) -> None:
    for version in twins:
        damaged = converted(version)
    damaged.path.write_bytes(b"damaged")  # the link's other name shows the same

    for version in twins:
        made = converted(version)
        assert made.path.read_bytes() != b"damaged"
        assert files.is_unchanged(made.path, made.sha256)


def converted(version: ModelVersion) -> Conversion:
    job = Job.objects.create(kind=JobKind.CONVERT, version=version, target="openvino")
    made = convert_version(job, ["openvino"], lambda percent, sentence: None)["openvino"]
    assert isinstance(made, Conversion) and made.is_made, str(made)
    return made
