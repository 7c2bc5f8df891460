"""Which engine `auto` means where a precision is asked for: one that computes in it."""

from __future__ import annotations

import pytest

from inference.errors import ValidationFailed
from models_app.choices import JobKind, JobState
from models_app.models import Conversion, Job, ModelVersion
from models_app.services import jobs
from models_app.services.change import change_version
from tests.engine_rows import make_comparison, row
from tests.registry import make_version

pytestmark = pytest.mark.django_db
HALF = {"precision": "f16"}


def version_of(file_format: str) -> ModelVersion:
    return make_version(format=file_format, engine_selected="")


def selected(version: ModelVersion) -> tuple[str, str]:
    fresh = ModelVersion.objects.get(pk=version.pk)
    return fresh.engine_selected, fresh.engine_reason


@pytest.mark.parametrize("file_format", ["onnx", "openvino"])
def test_auto_takes_the_first_engine_that_computes_in_the_precision(file_format: str) -> None:
    version = version_of(file_format)

    change_version(version, {"engine": "auto", "options": HALF}, by=None)

    assert selected(version)[0] == "openvino"
    assert not Job.objects.filter(kind=JobKind.CONVERT).exists(), "it opens the file itself"


@pytest.mark.parametrize("file_format", ["keras", "tflite"])
def test_the_file_is_converted_for_it(file_format: str) -> None:
    version = version_of(file_format)

    change_version(version, {"options": HALF}, by=None)

    assert selected(version) == ("openvino", "It computes in f16, which was asked for.")
    assert [job.target for job in Job.objects.filter(kind=JobKind.CONVERT)] == ["openvino"]


def test_without_a_precision_it_is_the_engine_that_made_the_file() -> None:
    version = version_of("onnx")

    change_version(version, {"engine": "auto"}, by=None)

    assert selected(version) == ("onnxruntime", "the engine that made the file; the others are measured")


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_where_they_could_not_be_measured_it_is_said(engine: str) -> None:
    version = version_of("onnx")
    change_version(version, {"engine": "auto"}, by=None)
    if engine != "auto":
        change_version(version, {"engine": engine}, by=None)
    Job.objects.filter(kind=JobKind.CHOOSE).update(state=JobState.RUNNING, attempts=1, boot_id="earlier")

    jobs.recover_interrupted()

    assert (
        selected(version)
        == {
            "auto": ("onnxruntime", "the engine that made the file; the others could not be measured"),
            "openvino": ("openvino", "asked for"),
        }[engine]
    )


@pytest.mark.parametrize("is_measured", [False, True])
def test_where_no_engine_can_the_options_are_refused(is_measured: bool) -> None:
    version = version_of("keras")
    Conversion.objects.create(version=version, format="openvino", sentence="The operation X cannot be had.")
    if is_measured:
        make_comparison(version, recommended="tensorflow", rows=[row("tensorflow"), row("openvino", error="X.")])

    with pytest.raises(ValidationFailed) as refusal:
        change_version(version, {"options": HALF}, by=None)

    assert refusal.value.fields == {
        "options": ["No engine that can run this file computes in f16. Leave the precision out."]
    }
    version.refresh_from_db()
    assert version.options_json == {}
