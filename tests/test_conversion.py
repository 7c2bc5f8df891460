"""Conversion keeps names and answers, says what stands in the way, and ends when it is stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from inference.conversion import CannotConvert, ConversionFailed, convert, read_names
from inference.limited_child import Limits
from inference.workspace import Workspace
from tests import real_models
from tests.engine_fixtures import Task, converted, difference, model_data, run_engines

ENGINE_OF = {
    "saved_model": "tensorflow",
    "frozen_graph": "tensorflow",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tflite": "litert",
}
PLENTY = Limits(seconds=300.0, memory_bytes=6 * 10**9)


def quiet(percent: int, detail: str) -> None:
    pass


def children() -> list[int]:
    """Conversions that this process has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"inference.conversion" in command and int(stat.rpartition(")")[2].split()[1]) == os.getpid():
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("target", ENGINE_OF)
def test_several_inputs_and_outputs_keep_their_names(tmp_path: Path, engine_models: Path, target: str) -> None:
    given, expected = model_data(engine_models, "two_ends")

    made = converted(tmp_path, engine_models / "two_ends.keras", "keras", target)
    (ran,) = run_engines(tmp_path, Task(ENGINE_OF[target], target, made.path, given, (("names", dict(made.names)),)))

    assert difference(ran.outputs, expected) < 1e-5
    assert sorted(spec["name"] for spec in ran.facts["inputs"]) == sorted(given)
    assert read_names(made.path) == dict(made.names)


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_recurrent_layers_are_converted(tmp_path: Path, engine_models: Path, target: str) -> None:
    given, expected = model_data(engine_models, "time_major")

    made = converted(tmp_path, engine_models / "time_major.keras", "keras", target)
    (ran,) = run_engines(tmp_path, Task(ENGINE_OF[target], target, made.path, given))

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize("name", ["slots", "version_1"])
def test_an_old_saved_model_is_converted(tmp_path: Path, engine_models: Path, name: str) -> None:
    given, expected = model_data(engine_models, name)

    made = converted(tmp_path, engine_models / f"{name}.zip", "saved_model", "openvino")
    (ran,) = run_engines(tmp_path, Task("openvino", "openvino", made.path, given))

    assert difference(ran.outputs, expected) < 1e-5


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("onnx", "ONNX has no operation for Digamma, which the model uses."),
        ("openvino", "OpenVINO has no operation for Digamma, which the model uses."),
        ("tflite", "TensorFlow Lite has no operation for Digamma, which the model uses. Use another engine."),
    ],
)
def test_the_operation_that_stands_in_the_way_is_named(
    tmp_path: Path, engine_models: Path, target: str, sentence: str
) -> None:
    with pytest.raises(CannotConvert) as answer:
        converted(tmp_path, engine_models / "digamma.pb", "frozen_graph", target)

    assert (answer.value.operation, answer.value.sentence) == ("Digamma", sentence)


def test_a_format_that_is_not_made_from_another_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CannotConvert, match="A tflite file cannot be converted to onnx"):
        converted(tmp_path, real_models.fer_tflite(), "tflite", "onnx")


def test_a_conversion_that_takes_too_long_is_stopped(tmp_path: Path, engine_models: Path) -> None:
    workspace = Workspace(tmp_path / "work")

    with pytest.raises(ConversionFailed, match="It took more than 12 s and was stopped"):
        convert(
            engine_models / "loop.pb",
            "frozen_graph",
            "openvino",
            workspace,
            progress=quiet,
            limits=Limits(seconds=12.0, memory_bytes=PLENTY.memory_bytes),
        )

    assert children() == []
    assert not workspace.root.exists()


def test_a_conversion_that_takes_too_much_memory_is_stopped(tmp_path: Path, engine_models: Path) -> None:
    with pytest.raises(ConversionFailed, match=r"It took more than 0\.2 GB of memory and was stopped"):
        convert(
            engine_models / "mobilenet.keras",
            "keras",
            "onnx",
            Workspace(tmp_path / "work"),
            progress=quiet,
            limits=Limits(seconds=200.0, memory_bytes=2 * 10**8),
        )

    assert children() == []


def test_a_conversion_that_is_killed_fails_with_a_reason(tmp_path: Path, engine_models: Path) -> None:
    def kill(percent: int, detail: str) -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ConversionFailed, match="The file ended the process that worked on it"):
        convert(engine_models / "two_ends.keras", "keras", "onnx", Workspace(tmp_path / "work"), progress=kill)

    assert not (tmp_path / "work").exists()


def test_a_file_that_cannot_be_opened_fails_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(real_models.orientation_onnx().read_bytes()[:50_000])

    with pytest.raises(ConversionFailed, match="ONNX Runtime cannot read the file") as failure:
        converted(tmp_path, path, "onnx", "openvino")

    assert str(tmp_path) not in str(failure.value)


def test_progress_rises_and_says_what_is_done(tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []

    convert(
        real_models.orientation_onnx(),
        "onnx",
        "openvino",
        Workspace(tmp_path / "work"),
        progress=lambda percent, detail: heard.append((percent, detail)),
    )

    assert [percent for percent, _ in heard] == sorted({percent for percent, _ in heard})
    assert all(detail.endswith(".") for _, detail in heard)
