"""Each engine answers as the original did: real files in every form, engines apart from each other."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests import real_models
from tests.engine_fixtures import Ran, Task, converted, face_inputs, page_inputs, run_engines
from tests.onnx_apart import packed_with_its_weights
from tests.wire_bytes import Numbers, Scalar, Table, flatbuffer

HAPPY = real_models.FER_LABELS.index("happy")
SAME = 1e-4


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return face_inputs(real_models.astronaut_face())


@pytest.fixture(scope="module")
def fer_answers(
    tmp_path_factory: pytest.TempPathFactory, fer_forms: dict[str, Path], faces: np.ndarray
) -> dict[tuple[str, str], Ran]:
    folder = tmp_path_factory.mktemp("answers")
    given = {"input_1": faces}
    forms = {"hdf5": real_models.fer_hdf5(), **fer_forms}
    runs = {
        "tensorflow": ("hdf5", "saved_model", "frozen_graph"),
        "onnxruntime": ("onnx",),
        "openvino": ("openvino", "onnx"),
        "litert": ("tflite",),
    }
    return {
        (engine, form): ran
        for engine, names in runs.items()
        for form, ran in zip(
            names, run_engines(folder, *(Task(engine, n, forms[n], given) for n in names)), strict=True
        )
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine", "form"),
    [
        ("tensorflow", "saved_model"),
        ("tensorflow", "frozen_graph"),
        ("onnxruntime", "onnx"),
        ("openvino", "openvino"),
        ("openvino", "onnx"),
        ("litert", "tflite"),
    ],
)
def test_a_real_model_answers_the_same_in_every_form(
    fer_answers: dict[tuple[str, str], Ran], engine: str, form: str
) -> None:
    original, ran = fer_answers["tensorflow", "hdf5"], fer_answers[engine, form]

    apart = float(np.abs(ran.only - original.only).max())
    print(f"{engine} on {form}: {apart:.1e} apart")
    assert apart < SAME
    assert list(ran.outputs) == list(original.outputs)
    assert [spec["name"] for spec in ran.facts["inputs"]] == ["input_1"]
    assert ran.only.argmax(axis=1).tolist() == original.only.argmax(axis=1).tolist()


def test_the_real_model_sees_a_happy_face(fer_answers: dict[tuple[str, str], Ran]) -> None:
    assert fer_answers["tensorflow", "hdf5"].only[0, HAPPY] == pytest.approx(0.998, abs=0.02)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "litert"])
def test_an_engine_brings_no_other_engine_with_it(fer_answers: dict[tuple[str, str], Ran], engine: str) -> None:
    form = {"openvino": "openvino", "onnxruntime": "onnx", "litert": "tflite"}[engine]
    library = {"litert": "ai_edge_litert"}.get(engine, engine)

    assert fer_answers[engine, form].facts["libraries"] == [library]


def test_a_tflite_file_with_a_batch_of_one_answers_in_both_its_engines(tmp_path: Path, faces: np.ndarray) -> None:
    path = real_models.fer_tflite()
    other = converted(tmp_path, path, "tflite", "openvino")

    (lite,) = run_engines(tmp_path, Task("litert", "tflite", path, {"x": faces}))
    (vino,) = run_engines(tmp_path, Task("openvino", "openvino", other.path, {"x": faces}))

    assert lite.facts["inputs"][0]["shape"] == [1, 64, 64, 1]
    assert lite.only[0, HAPPY] == pytest.approx(0.999, abs=0.02)
    # Its weights are int8: LiteRT rounds what it multiplies them with, OpenVINO computes in f32.
    assert np.abs(lite.only - vino.only).max() < 0.02
    assert list(lite.outputs) == list(vino.outputs)


def test_a_recurrent_tflite_file_begins_anew_with_each_call(tmp_path: Path) -> None:
    """Else an answer depends on what others asked before: the state is the sum of all inputs."""
    (tmp_path / "recurrent.tflite").write_bytes(flatbuffer(recurrent()))

    (ran,) = run_engines(
        tmp_path, Task("litert", "tflite", tmp_path / "recurrent.tflite", {"x": np.ones((3, 1), np.float32)})
    )

    assert ran.only.tolist() == [[1.0], [1.0], [1.0]]


def recurrent() -> Table:
    """One RNN (schema.fbs of TensorFlow Lite: builtin 24, options 7): state = x + state."""

    def tensor(name: str, *sizes: int, buffer: int = 0, is_variable: int = 0) -> Table:
        kind = {1: Scalar("b", 0), 2: Scalar("I", buffer), 3: name, 5: Scalar("b", is_variable)}
        return {0: Numbers("i", sizes), **kind}

    tensors = [
        tensor("x", 1, 1),
        tensor("weights", 1, 1, buffer=1),
        tensor("recurrent", 1, 1, buffer=1),
        tensor("bias", 1, buffer=2),
        tensor("state", 1, 1, is_variable=1),
        tensor("answer", 1, 1),
    ]
    operator = {0: Scalar("I", 0), 1: Numbers("i", range(5)), 2: Numbers("i", [5]), 3: Scalar("B", 7), 4: {}}
    graph = {0: tensors, 1: Numbers("i", [0]), 2: Numbers("i", [5]), 3: [operator]}
    buffers = [{}, {0: np.float32(1).tobytes()}, {0: np.float32(0).tobytes()}]
    return {0: Scalar("I", 3), 1: [{0: Scalar("b", 24), 3: Scalar("i", 24)}], 2: [graph], 4: buffers}


def test_an_onnx_file_answers_in_both_its_engines(tmp_path: Path) -> None:
    path, page = real_models.orientation_onnx(), real_models.page_png()
    # turned counter-clockwise by the first, the answer is the second
    expected = {0: "0", 90: "270", 180: "180", 270: "90"}
    given = {"x": np.concatenate([page_inputs(page, turned) for turned in expected])}
    other = converted(tmp_path, path, "onnx", "openvino")

    (onnx,) = run_engines(tmp_path, Task("onnxruntime", "onnx", path, given))
    straight, vino = run_engines(
        tmp_path, Task("openvino", "onnx", path, given), Task("openvino", "openvino", other.path, given)
    )

    assert onnx.facts["inputs"][0]["shape"][:2] == [None, 3]
    labels = [real_models.ORIENTATION_LABELS[i] for i in onnx.only.argmax(axis=1)]
    assert labels == list(expected.values())
    assert onnx.only[0, 0] == pytest.approx(0.925, abs=0.02)
    assert max(np.abs(straight.only - onnx.only).max(), np.abs(vino.only - onnx.only).max()) < SAME


def test_an_onnx_model_whose_weights_lie_beside_it_answers_as_the_one_in_a_single_file(tmp_path: Path) -> None:
    whole, given = real_models.orientation_onnx(), {"x": page_inputs(real_models.page_png(), 90)}
    apart = packed_with_its_weights(whole, tmp_path / "apart.zip")
    other = converted(tmp_path, apart, "onnx", "openvino")

    (wanted,) = run_engines(tmp_path, Task("onnxruntime", "onnx", whole, given))
    (found,) = run_engines(tmp_path, Task("onnxruntime", "onnx", apart, given))
    straight, vino = run_engines(
        tmp_path, Task("openvino", "onnx", apart, given), Task("openvino", "openvino", other.path, given)
    )

    assert np.array_equal(found.only, wanted.only)
    assert max(np.abs(straight.only - wanted.only).max(), np.abs(vino.only - wanted.only).max()) < SAME
    assert not [*Path(tempfile.gettempdir()).glob("onnx-*")]


def test_threads_run_side_by_side_in_openvino(tmp_path: Path, fer_forms: dict[str, Path], faces: np.ndarray) -> None:
    settings = (("streams", 2), ("threads_at_once", 4))
    one, many = run_engines(
        tmp_path,
        Task("openvino", "openvino", fer_forms["openvino"], {"input_1": faces}),
        Task("openvino", "openvino", fer_forms["openvino"], {"input_1": np.tile(faces, (10, 1, 1, 1))}, settings),
    )

    assert (one.facts["parallel"], many.facts["parallel"]) == (1, 2)
    assert np.abs(many.only - np.tile(one.only, (10, 1))).max() < SAME


def test_openvino_names_the_operation_that_it_has_not(tmp_path: Path) -> None:
    words = helper.make_tensor_value_info("words", onnx.TensorProto.STRING, ["n"])
    numbers = helper.make_tensor_value_info("numbers", onnx.TensorProto.INT64, ["n"])
    node = helper.make_node(
        "LabelEncoder", ["words"], ["numbers"], domain="ai.onnx.ml", keys_strings=["no", "yes"], values_int64s=[0, 1]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    graph = helper.make_graph([node], "words", [words], [numbers])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "words.onnx")

    (ran,) = run_engines(tmp_path, Task("openvino", "onnx", tmp_path / "words.onnx"))

    assert ran.facts["unusable"] == "OpenVINO has no operation for ai.onnx.ml.LabelEncoder, which the model uses."


def test_an_engine_that_computes_in_f32_only_says_so(tmp_path: Path) -> None:
    path = real_models.fer_tflite()
    (ran,) = run_engines(tmp_path, Task("litert", "tflite", path, None, (("precision", "bf16"),)))

    assert ran.facts["unusable"] == "The engine litert computes in f32 only. Choose openvino for bf16."
