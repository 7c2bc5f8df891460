"""Engines on the pages: readable figures, the recommended row, work in the background, downloads, the steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from inference.catalog import ENGINES, precision_refusal
from models_app.choices import FileStatus, JobKind, JobState
from models_app.models import Comparison, Conversion, Job, ModelVersion
from models_app.pages.background_work import background_work
from models_app.pages.comparison_table import (
    choice_sentence,
    comparison_table,
    difference_words,
    share_words,
    speed_words,
)
from models_app.pages.downloads import downloads
from models_app.pages.engine_choices import (
    check_precision,
    engine_choices,
    graph_ends,
    precision_choices,
    typed_names,
)
from models_app.pages.scaling_hint import scaling_hint
from models_app.pages.steps import MEASURED, check_steps
from tests.admin_rows import make_version
from tests.engine_rows import make_comparison, row

NOW = datetime(2026, 11, 22, 14, 3, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "–"), (0.0, "0"), (1.5e-6, "1.5e-6"), (2e-5, "2.0e-5"), (0.00099, "9.9e-4"), (0.013, "0.013"),
        (2.44, "2.4"), (99.9, "100"), (1234.5, "1,234"), (3e-38, "below 1e-9"),
    ],
)  # fmt: skip
def test_differences(number: float | None, words: str) -> None:
    assert difference_words(number) == words


def test_shares_and_speeds() -> None:
    assert [share_words(n) for n in (None, 1.0, 0.96875, 0.9999, 0.0)] == ["–", "100 %", "96.9 %", "99.9 %", "0.0 %"]
    assert [speed_words(n) for n in (None, 4.23, 278.4, 12_400.0)] == ["–", "4.2", "278", "12,400"]


@pytest.mark.django_db
def test_the_recommended_row_stands_first_and_what_cannot_run_last() -> None:
    version = make_version()
    table = comparison_table(version, make_comparison(version), NOW)

    assert [str(r) for r in table.rows] == [
        "openvino f32", "openvino bf16", "onnxruntime f32", "tensorflow f32", "litert f32",
    ]  # fmt: skip
    best, bf16, _, reference, impossible = table.rows
    assert best.is_recommended and not best.differs
    assert (best.difference, best.same_winner, best.load) == ("1.5e-6", "100 %", "0.4 s")
    assert (best.latency, best.rate, best.batch, best.memory) == ("3.6 / 5.1 ms", "278", "16 at once", "118 MB")
    assert bf16.differs and bf16.same_winner == "96.9 %"
    assert reference.is_reference and reference.is_used
    assert (reference.difference, reference.same_winner) == ("–", "–")
    assert impossible.error == "Not possible: The operation ResizeBicubic stands in the way."
    assert (table.noun, table.max_rate) == ("Images", 416.0)


@pytest.mark.django_db
def test_a_sentence_says_what_is_the_owners_own_choice() -> None:
    version = make_version()

    assert choice_sentence(make_comparison(version)) == (
        "openvino bf16 is faster still (416 a second), but names the same winner on 96.9 % only; it is yours to choose."
    )
    rows = [row("tensorflow", per_second=10.0), row("litert", per_second=12.0, max_rel_diff=0.02)]
    different = Comparison(reference="tensorflow", recommended="tensorflow", rows=rows)
    assert choice_sentence(different) == (
        "litert f32 is faster still (12 a second), but answers otherwise by up to 0.02 of the largest value; "
        "it is yours to choose."
    )
    in_batches = [row("litert", per_second=44_000.0), row("onnxruntime", per_second=106_000.0)]
    assert choice_sentence(Comparison(reference="tensorflow", recommended="litert", rows=in_batches)) == (
        "Of requests of many examples onnxruntime f32 computes more (106,000 a second); it is yours to choose."
    )
    alone = Comparison(reference="tensorflow", recommended="tensorflow", rows=rows[:1])
    assert choice_sentence(alone) == ""


@pytest.mark.django_db
def test_an_engine_that_a_person_chose_and_that_answers_otherwise_is_told() -> None:
    version = make_version()
    rows = [
        row("onnxruntime", max_rel_diff=0.0),
        row("openvino", max_rel_diff=0.97, same_winner=None),
        row("openvino", "bf16", max_rel_diff=0.02, same_winner=0.96875),
    ]
    comparison = make_comparison(version, rows=rows, reference="onnxruntime", recommended="onnxruntime")

    def doubt(engine: str, precision: str) -> str:
        version.engine, version.engine_selected = engine, engine
        version.options_json = {"precision": precision}
        return comparison_table(version, comparison, NOW).doubt

    assert doubt("onnxruntime", "f32") == ""
    assert doubt("openvino", "f32") == (
        "openvino f32 answers otherwise by up to 0.97 of the largest value, compared with onnxruntime."
    )
    assert doubt("openvino", "bf16") == (
        "openvino bf16 names the same winner on 96.9 % only, compared with onnxruntime."
    )


@pytest.mark.django_db
def test_beside_its_row_on_the_gpu_the_references_on_the_cpu_is_nobodys_choice() -> None:
    version = make_version()
    rows = [
        row("tensorflow", per_second=332.0, device="cpu"),
        row("tensorflow", per_second=300.0, device="gpu:0"),
        row("openvino", per_second=150.0, device="cpu"),
    ]
    comparison = make_comparison(version, rows=rows, recommended="tensorflow")

    table = comparison_table(version, comparison, NOW)

    on_gpu, on_cpu, openvino = table.rows
    assert [str(r) for r in table.rows] == ["tensorflow f32 gpu:0", "tensorflow f32 cpu", "openvino f32 cpu"]
    assert on_gpu.is_recommended and on_gpu.is_used and not on_gpu.is_reference and not on_gpu.is_aside
    assert on_cpu.is_reference and on_cpu.is_aside and not (on_cpu.is_recommended or on_cpu.is_used)
    assert not openvino.is_aside
    assert table.choices == "", "the reference on the CPU is faster, and cannot be chosen"


@pytest.mark.django_db
def test_nothing_could_be_measured_is_a_table_too() -> None:
    version = make_version()
    comparison = make_comparison(version, rows=[row("tensorflow", error="It ended early.", per_second=None)])

    table = comparison_table(version, comparison, NOW)

    assert [r.error for r in table.rows] == ["Not possible: It ended early."]
    assert table.max_rate == 1 and table.max_memory == 1


@pytest.mark.django_db
def test_only_failures_that_nobody_made_good_are_kept() -> None:
    version = make_version()
    failed = {"state": JobState.FAILED, "finished_at": timezone.now(), "detail": "It took too much memory."}
    Job.objects.create(version=version, kind=JobKind.CONVERT, target="onnx", **failed)
    Job.objects.create(version=version, kind=JobKind.CONVERT, target="tflite", **failed)
    Job.objects.create(version=version, kind=JobKind.CHOOSE, **failed)
    Job.objects.create(version=version, kind=JobKind.COMPARE, state=JobState.RUNNING, progress=40, detail="Measuring.")
    made = Conversion.objects.create(version=version, format="onnx")

    work = background_work(version.jobs.all(), [made], None)
    later = background_work(version.jobs.all(), [made], make_comparison(version))

    assert [(w.title, w.word, w.verb) for w in work] == [
        ("Conversion to TensorFlow Lite", "failed", "make"),
        ("Choice of the engine", "failed", "choose"),
        ("Comparison of the engines", "running", "compare"),
    ]
    assert work[2].progress == 40 and work[0].detail == "It took too much memory."
    assert [w.title for w in later] == ["Conversion to TensorFlow Lite", "Comparison of the engines"]


@pytest.mark.django_db
def test_each_format_is_there_to_be_made_on_its_way_or_impossible() -> None:
    version = make_version()
    Conversion.objects.create(version=version, format="onnx", size_bytes=13_000_000)
    Conversion.objects.create(version=version, format="tflite", sentence="The operation X cannot be had.")
    Job.objects.create(version=version, kind=JobKind.CONVERT, target="openvino", state=JobState.RUNNING, progress=30)
    Job.objects.create(version=version, kind=JobKind.CONVERT, target="saved_model", state=JobState.FAILED, detail="Ow.")

    shown = {d.format: d for d in downloads(version, list(version.conversions.all()), version.jobs.all())}

    assert {name: d.state for name, d in shown.items()} == {
        "saved_model": "failed", "frozen_graph": "missing", "onnx": "made", "openvino": "pending",
        "tflite": "impossible",
    }  # fmt: skip
    assert shown["onnx"].size == "13.0 MB" and shown["openvino"].progress == 30
    assert shown["tflite"].sentence == "The operation X cannot be had."
    assert downloads(make_version("b", FileStatus.CHECKING), [], []) == ()


def test_a_files_own_format_is_the_original() -> None:
    version = ModelVersion(format="onnx", status=FileStatus.READY)

    assert [d.format for d in downloads(version, [], [])] == ["openvino"]


@pytest.mark.django_db
def test_with_auto_the_steps_go_on_until_the_engines_are_measured() -> None:
    checking = make_version("a", FileStatus.CHECKING)
    named = make_version("b", FileStatus.CHECKING, engine="tensorflow")
    ready = make_version("c")
    job = Job.objects.create(version=ready, kind=JobKind.CHOOSE, state=JobState.RUNNING, detail="Measuring litert.")

    assert check_steps(checking)[-1].text == MEASURED and check_steps(named)[-1].text == "Ready"
    assert [s.state for s in check_steps(ready)] == ["done"] * 5 + ["now"]
    assert check_steps(ready)[-1].detail == "Measuring litert."
    Job.objects.filter(pk=job.pk).update(state=JobState.DONE)
    assert check_steps(ready) == ()


def image_version(notes: list[str], preset: str = "", **fields: Any) -> ModelVersion:
    spec = {"name": "image", "dtype": fields.pop("dtype", "float32"), "shape": [None, 8, 8, 3]}
    return ModelVersion(
        signature_json={"inputs": [spec], "outputs": []},
        preprocessing_json={"preset": preset} if preset else {},
        notes=notes,
        **{"format": "keras", **fields},
    )


SCALES = ["The model scales its inputs itself (Rescaling 1/255)."]


@pytest.mark.parametrize("preset", ["unit", "symmetric", "imagenet-torch", "imagenet-caffe"])
def test_what_is_scaled_twice_is_told(preset: str) -> None:
    assert scaling_hint(image_version(SCALES, preset)) == (
        f"The model scales its inputs itself (Rescaling 1/255); with the preset {preset} they are scaled twice. "
        "Choose the preset none."
    )
    fitted = ["The model scales its inputs itself (Normalization)."]
    assert "may be scaled twice" in scaling_hint(image_version(fitted, preset))


def test_what_is_not_scaled_at_all_is_told() -> None:
    assert scaling_hint(image_version([])).startswith("Pixels go in as 0–255; most models want 0–1")
    assert "unless the model scales them itself" in scaling_hint(image_version([], format="onnx"))
    assert scaling_hint(image_version([], dtype="uint8")) == ""


@pytest.mark.parametrize(
    ("dtype", "preset", "said"),
    [
        ("uint8", "unit", "with the preset unit pixels become 0 to 1 and are rounded. Choose the preset none."),
        (
            "int32",
            "symmetric",
            "with the preset symmetric pixels become −1 to 1 and are rounded. Choose the preset none.",
        ),
        (
            "int8",
            "none",
            "Pixels become 0 to 255, and the model takes int8: what is below −128 or above 127 is cut off.",
        ),
        ("uint8", "imagenet-caffe", "is cut off. Choose the preset none."),
        ("int32", "imagenet-caffe", ""),
        ("uint8", "none", ""),
    ],
)
def test_what_whole_numbers_cannot_hold_is_told(dtype: str, preset: str, said: str) -> None:
    hint = scaling_hint(image_version([], preset, dtype=dtype))

    assert said in hint and bool(said) == bool(hint)


@pytest.mark.parametrize(
    ("notes", "preset"), [(SCALES, ""), (SCALES, "none"), ([], "unit"), ([], "imagenet-caffe"), ([], "imagenet-torch")]
)
def test_what_fits_together_needs_no_hint(notes: list[str], preset: str) -> None:
    assert scaling_hint(image_version(notes, preset)) == ""


def test_a_model_of_numbers_needs_no_hint() -> None:
    version = ModelVersion(signature_json={"inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}]})
    version.signature_json["outputs"] = []

    assert scaling_hint(version) == ""


def test_the_ends_that_a_check_found_can_be_ticked() -> None:
    version = ModelVersion(
        status=FileStatus.REJECTED,
        candidates_json={"graph_outputs": ["probs", "aux/add:1"]},
        options_json={"graph_outputs": ["probs:0", "hidden:0"]},
    )

    ends = graph_ends(version)

    assert ends.inputs == ()
    assert [(e.name, e.is_chosen) for e in ends.outputs] == [("probs", True), ("aux/add:1", False)]
    assert ends.other_outputs == "hidden:0"
    assert typed_names(" a:0, b\n\nc ,") == ["a:0", "b", "c"]


def test_auto_stands_first_among_the_engines_of_a_format() -> None:
    assert [c.value for c in engine_choices()] == ["auto", "tensorflow", "openvino", "onnxruntime", "litert"]
    assert [c.value for c in engine_choices("tflite")] == ["auto", "litert", "openvino"]
    assert "fastest" in engine_choices()[0].word
    check_precision("auto", "bf16")
    with pytest.raises(Exception, match="f32 only"):
        check_precision("litert", "bf16")


def test_the_words_on_precisions_follow_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [c.word for c in precision_choices()] == [
        "f32: as exact as the model was made",
        "bf16: faster, less exact, openvino only",
        "f16: faster, less exact, openvino only",
    ]

    monkeypatch.setitem(ENGINES, "onnxruntime", replace(ENGINES["onnxruntime"], precisions=("f32", "f16")))

    assert precision_choices()[2].word == "f16: faster, less exact, openvino and onnxruntime only"
    assert precision_refusal("litert", "f16") == "litert computes in f32 only. Choose openvino or onnxruntime for f16."
    assert precision_refusal("onnxruntime", "bf16") == (
        "onnxruntime computes in f32 and f16 only. Choose openvino for bf16."
    )
