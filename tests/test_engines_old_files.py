"""Files of earlier years open: arguments that Keras 3 refuses, optimizers that are gone, sessions, integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference.formats import inspect_file
from tests.engine_fixtures import Ran, Task, converted, difference, model_data, run_engines, said_by

KERAS_MODELS = (
    *("groups", "time_major", "nested", "base_first", "siamese", "twin_ends", "attention", "states", "axes", "gates"),
    *("slashes", "unordered", "unordered_old", "new_axes", "new_attention", "operations"),
    *("new_operations", "namesakes", "new_scales", "wrapped", "binned", "normalized"),
)
"""Each as .h5 and as .keras; see tests/old_models.py."""

TENSORFLOW_FILES = {
    **{f"{name}.h5": "hdf5" for name in KERAS_MODELS},
    **{f"{name}.keras": "keras" for name in KERAS_MODELS},
    **{f"{name}-2.12.h5": "hdf5" for name in ("time_major", "gates", "states", "nested", "axes", "wrapped", "binned")},
    "channels.h5": "hdf5",
    "of_cudnn.h5": "hdf5",
    "of_cudnn-2.12.h5": "hdf5",
    "without_input.h5": "hdf5",
    "listed.h5": "hdf5",
    "two_ends.keras": "keras",
    "free_steps.keras": "keras",
    "slots.zip": "saved_model",
    "slots": "saved_model",
    "version_1.zip": "saved_model",
}

SENTENCES = {
    "of_cudnn_elsewhere.h5": "The weights of the layer 'short', which was made for cuDNN, are not where HDF5 has them.",
    "time_major_true.h5": "The layer 'simple' has time_major = True, which Keras 3 cannot compute. Build",
    "constant.h5": "takes a constant beside its inputs, which Keras 3 cannot read. Export",
    "foreign_function.h5": "calls TensorFlow's 'tf.io.read_file', which is not computed here outside of a SavedModel.",
    "by_place.h5": "Keras 3 puts the layers of this file in another order and would mix up their weights. Export",
    "by_place.keras": "Keras 3 puts the layers of this file in another order and would mix up their weights. Export",
    "unknown_argument.keras": (
        "Keras cannot read the file: Unrecognized keyword arguments passed to Dense: {'of_nobody': 1}"
    ),
    "two_axes.keras": "Keras cannot read the file: BatchNormalization: int() argument must be a string",
}


def _model(file_name: str) -> str:
    return Path(file_name).stem.removesuffix("-2.12")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, engine_models: Path) -> dict[str, Ran]:
    tasks = {
        name: Task("tensorflow", form, engine_models / name, model_data(engine_models, _model(name))[0])
        for name, form in TENSORFLOW_FILES.items()
    }
    data = model_data(engine_models, "digamma")[0]
    digamma = engine_models / "digamma.pb"
    tasks["chosen"] = Task("tensorflow", "frozen_graph", digamma, data, (("graph_outputs", ["answer"]),))
    tasks["all"] = Task("tensorflow", "frozen_graph", digamma, data)
    tasks["nowhere"] = Task("tensorflow", "frozen_graph", digamma, data, (("graph_outputs", ["nowhere"]),))
    ranks = model_data(engine_models, "lost_rank")[0]
    tasks["lost_rank"] = Task("tensorflow", "frozen_graph", engine_models / "lost_rank.pb", ranks)
    tasks["lost_rank_failing"] = Task("tensorflow", "frozen_graph", engine_models / "lost_rank_failing.pb")
    for name in SENTENCES:
        tasks[name] = Task("tensorflow", "hdf5" if name.endswith(".h5") else "keras", engine_models / name)
    runs = run_engines(tmp_path_factory.mktemp("old"), *tasks.values())
    return dict(zip(tasks, runs, strict=True))


@pytest.mark.parametrize("name", TENSORFLOW_FILES)
def test_an_old_file_answers_as_it_did(opened: dict[str, Ran], engine_models: Path, name: str) -> None:
    expected = model_data(engine_models, _model(name))[1]

    assert "unusable" not in opened[name].facts, opened[name].facts
    assert difference(opened[name].outputs, expected) < 1e-5


def test_opening_an_old_file_leaves_it_as_it_is(opened: dict[str, Ran], engine_models: Path) -> None:
    assert b'"groups": 1' in (engine_models / "groups.h5").read_bytes()


@pytest.mark.parametrize("name", SENTENCES)
def test_a_file_that_cannot_be_read_says_why(opened: dict[str, Ran], name: str) -> None:
    assert SENTENCES[name] in opened[name].facts["unusable"]


def test_an_old_file_passes_the_allow_list_as_it_is(engine_models: Path) -> None:
    for name, form in TENSORFLOW_FILES.items():
        if form in ("keras", "hdf5"):
            assert inspect_file(engine_models / name).format == form


def test_the_ends_of_a_frozen_graph_are_found_or_chosen(opened: dict[str, Ran], engine_models: Path) -> None:
    expected = model_data(engine_models, "digamma")[1]

    assert sorted(opened["all"].outputs) == ["answer", "beside"]
    assert difference(opened["chosen"].outputs, expected) < 1e-6
    assert opened["nowhere"].facts["unusable"] == (
        "The graph has no output called 'nowhere'. Name those that are meant in the option graph_outputs; "
        "it has 'answer', 'beside'."
    )


def test_how_many_dimensions_a_graph_answers_is_tried_where_it_does_not_say(
    opened: dict[str, Ran], engine_models: Path
) -> None:
    assert opened["lost_rank"].facts["outputs"][0]["shape"] == [None, None]
    assert difference(opened["lost_rank"].outputs, model_data(engine_models, "lost_rank")[1]) < 1e-6
    assert opened["lost_rank_failing"].facts["unusable"] == (
        "The file does not say how many dimensions answer has. Save it with a shape, or choose other outputs in the "
        "option graph_outputs."
    )


@pytest.mark.parametrize("name", ["int8", "uint8"])
def test_a_quantised_file_takes_and_gives_real_numbers(tmp_path: Path, engine_models: Path, name: str) -> None:
    given, expected = model_data(engine_models, name)
    path = engine_models / f"{name}.tflite"
    other = converted(tmp_path, path, "tflite", "openvino")

    (lite,) = run_engines(tmp_path, Task("litert", "tflite", path, given))
    (vino,) = run_engines(tmp_path, Task("openvino", "openvino", other.path, given))

    for ran in (lite, vino):
        assert {spec["dtype"] for spec in (*ran.facts["inputs"], *ran.facts["outputs"])} == {"float32"}
        assert difference(ran.outputs, expected) < 0.15
        assert np.mean(ran.only.argmax(axis=1) == expected["answer"].argmax(axis=1)) >= 0.9
    assert difference(vino.outputs, lite.outputs) < 0.05


def test_the_operations_of_keras_2_are_functions_of_tensorflow_with_these_arguments() -> None:
    code = (
        "import inspect; from inference.engines.keras_operations import OldOperation, OPERATIONS;"
        "print([name for name, arguments in OPERATIONS.items()"
        " if not arguments <= inspect.signature(OldOperation(name)._function).parameters.keys()])"
    )

    assert said_by(code) == "[]"


def test_the_operations_of_keras_3_are_where_they_are_looked_for() -> None:
    code = (
        "import importlib, keras; from inference.engines.keras_repair import OPERATIONS, SUBMODULES;"
        "found = {name: importlib.import_module('keras.src.ops' + SUBMODULES.get(name, '')) for name in OPERATIONS};"
        "print([name for name, home in found.items() if not issubclass(getattr(home, name, str), keras.Operation)])"
    )

    assert said_by(code) == "[]"


def test_no_engine_is_imported_before_one_is_opened() -> None:
    code = (
        "import sys, inference.engines, inference.conversion, inference.comparison, inference.engines.keras_repair;"
        "print([n for n in ('tensorflow','keras','openvino','onnxruntime','ai_edge_litert','onnx','django')"
        " if n in sys.modules])"
    )

    assert said_by(code) == "[]"
