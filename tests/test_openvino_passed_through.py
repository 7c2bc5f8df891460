"""What a model hands through from an input to an output is right in OpenVINO when the number of rows changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.engine_fixtures import converted

ASK = """
import sys
from pathlib import Path
import numpy as np
from inference.engines import EngineSettings
from inference.engines.openvino import load
path, format_name, given_name, answer_name, cache = sys.argv[1:]
for _ in range(2):  # compiled, then read from what is kept
    engine = load(Path(path), format_name, EngineSettings(streams=2, cache_directory=Path(cache)))
    specs = engine.signature.inputs
    generator = np.random.default_rng(3)
    for call in range(300):
        rows = int(generator.integers(1, 60 if call % 3 else 3000))
        given = {s.name: generator.integers(0, 99, (rows, s.shape[1])).astype(s.dtype) for s in specs}
        answer = engine.run(given)[answer_name]
        assert np.array_equal(answer, given[given_name]), (call, rows)
print("right")
"""
SAME = {"float": ["FLOAT"], "int32": ["INT32"], "as wide inside": ["FLOAT", "FLOAT16"], "twice": ["INT32", "UINT32"]}


def asked(path: Path, format_name: str, given: str, answer: str) -> str:
    command = [sys.executable, "-c", ASK, str(path), format_name, given, answer, str(path.parent / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout.strip() or f"{done.returncode}: {done.stderr[-300:]}"


@pytest.mark.parametrize("kinds", SAME.values(), ids=SAME)
def test_a_conversion_that_changes_nothing_gives_what_it_got(tmp_path: Path, kinds: list[str]) -> None:
    types = [TensorProto.DataType.Value(kind) for kind in (*kinds, kinds[0])]
    ends = ["key", *(f"between_{i}" for i in range(len(kinds) - 1)), "out"]
    nodes = [helper.make_node("Cast", [ends[i]], [ends[i + 1]], to=types[i + 1]) for i in range(len(kinds))]
    graph = helper.make_graph(
        nodes,
        "through",
        [helper.make_tensor_value_info("key", types[0], ["n", 3])],
        [helper.make_tensor_value_info("out", types[0], ["n", 3])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    assert asked(path, "onnx", "key", "out") == "right"


def test_an_input_that_a_keras_model_answers_is_what_was_sent(tmp_path: Path, engine_models: Path) -> None:
    file = converted(tmp_path, engine_models / "same_names.keras", "keras", "openvino")

    (name,) = [in_file for in_file, name in dict(file.names).items() if name == "y through"]
    assert asked(file.path, "openvino", "y", name) == "right"
