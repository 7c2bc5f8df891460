"""Files of earlier years open: arguments that Keras 3 refuses, optimizers that are gone, sessions, integers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine_fixtures import ROOT, Ran, Task, converted, difference, model_data, run_engines

TENSORFLOW_FILES = {
    "groups.h5": "hdf5",
    "groups.keras": "keras",
    "time_major.h5": "hdf5",
    "time_major.keras": "keras",
    "without_input.h5": "hdf5",
    "listed.h5": "hdf5",
    "functional.keras": "keras",
    "two_ends.keras": "keras",
    "slots.zip": "saved_model",
    "slots": "saved_model",
    "version_1.zip": "saved_model",
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, engine_models: Path) -> dict[str, Ran]:
    tasks = {
        name: Task("tensorflow", form, engine_models / name, model_data(engine_models, Path(name).stem)[0])
        for name, form in TENSORFLOW_FILES.items()
    }
    data = model_data(engine_models, "digamma")[0]
    digamma = engine_models / "digamma.pb"
    tasks["chosen"] = Task("tensorflow", "frozen_graph", digamma, data, (("graph_outputs", ["answer"]),))
    tasks["all"] = Task("tensorflow", "frozen_graph", digamma, data)
    tasks["nowhere"] = Task("tensorflow", "frozen_graph", digamma, data, (("graph_outputs", ["nowhere"]),))
    tasks["time first"] = Task("tensorflow", "hdf5", engine_models / "time_major_true.h5")
    runs = run_engines(tmp_path_factory.mktemp("old"), *tasks.values())
    return dict(zip(tasks, runs, strict=True))


@pytest.mark.parametrize("name", TENSORFLOW_FILES)
def test_an_old_file_answers_as_it_did(opened: dict[str, Ran], engine_models: Path, name: str) -> None:
    expected = model_data(engine_models, Path(name).stem)[1]

    assert "unusable" not in opened[name].facts, opened[name].facts
    assert difference(opened[name].outputs, expected) < 1e-5


def test_opening_an_old_file_leaves_it_as_it_is(opened: dict[str, Ran], engine_models: Path) -> None:
    assert b'"groups": 1' in (engine_models / "groups.h5").read_bytes()


def test_an_argument_that_means_something_is_named(opened: dict[str, Ran]) -> None:
    assert "has time_major = True, which Keras 3 cannot compute" in opened["time first"].facts["unusable"]


def test_the_ends_of_a_frozen_graph_are_found_or_chosen(opened: dict[str, Ran], engine_models: Path) -> None:
    expected = model_data(engine_models, "digamma")[1]

    assert sorted(opened["all"].outputs) == ["answer", "beside"]
    assert difference(opened["chosen"].outputs, expected) < 1e-6
    assert opened["nowhere"].facts["unusable"] == (
        "The graph has no output called 'nowhere'. Name those that are meant in the option graph_outputs; "
        "it has 'answer', 'beside'."
    )


@pytest.mark.parametrize("name", ["int8", "uint8"])
def test_a_quantised_file_takes_and_gives_real_numbers(tmp_path: Path, engine_models: Path, name: str) -> None:
    given, expected = model_data(engine_models, name)
    path = engine_models / f"{name}.tflite"
    other = converted(tmp_path, path, "tflite", "openvino")

    (lite,) = run_engines(tmp_path, Task("litert", "tflite", path, given))
    straight, vino = run_engines(
        tmp_path, Task("openvino", "tflite", path), Task("openvino", "openvino", other.path, given)
    )

    for ran in (lite, vino):
        assert {spec["dtype"] for spec in (*ran.facts["inputs"], *ran.facts["outputs"])} == {"float32"}
        assert difference(ran.outputs, expected) < 0.15
        assert np.mean(ran.only.argmax(axis=1) == expected["answer"].argmax(axis=1)) >= 0.9
    assert difference(vino.outputs, lite.outputs) < 0.05
    assert "Convert it first." in straight.facts["unusable"]


def test_no_engine_is_imported_before_one_is_opened() -> None:
    code = (
        "import sys, inference.engines, inference.conversion, inference.comparison, inference.engines.keras_repair;"
        "print([n for n in ('tensorflow','keras','openvino','onnxruntime','ai_edge_litert','onnx','django')"
        " if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"
