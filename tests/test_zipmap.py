"""The probabilities of a classifier of scikit-learn come as dictionaries by default, which no protocol here has."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from inference.engines import EngineSettings, ModelUnusable, open_engine


def test_a_file_that_answers_dictionaries_is_told_how_to_answer_numbers(tmp_path: Path) -> None:
    key, value = TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_value_info("p", helper.make_sequence_type_proto(helper.make_map_type_proto(key, value)))],
    )
    path = tmp_path / "model.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)

    with pytest.raises(ModelUnusable, match=r"'zipmap': False. in skl2onnx"):
        open_engine("onnxruntime", path, "onnx", EngineSettings())
