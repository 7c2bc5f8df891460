"""bfloat16, which numpy and the protocols do not have, comes out of every engine as float32."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.engine_fixtures import Task, run_engines
from tests.graph_files import node, of_type, placeholder, saved_graph, saved_model_zip, signature, tensor_info

BFLOAT16 = 14
GIVEN = np.array([[0.5, -2.0, 1.0, 3.0]], np.float32)
WRITE_IR = """
import sys, openvino as ov
from openvino import opset13 as ops
x = ops.parameter([-1, 4], ov.Type.bf16, name="image")
ov.save_model(ov.Model([ops.relu(x)], [x], "small"), sys.argv[1], compress_to_fp16=False)
"""


def test_tensorflow_widens_it(tmp_path: Path) -> None:
    graph = saved_graph(
        [placeholder("image", -1, 4), node("answer", "Cast", "image", SrcT=of_type(1), DstT=of_type(BFLOAT16))],
        signatures={
            "serving_default": signature(
                {"image": tensor_info("image:0", -1, 4)}, {"answer": tensor_info("answer:0", -1, 4, dtype=BFLOAT16)}
            )
        },
    )
    path = saved_model_zip(tmp_path / "model.archive", graph, files=[])

    (ran,) = run_engines(tmp_path, Task("tensorflow", "saved_model", path, {"image": GIVEN}))

    assert ran.facts["outputs"] == [{"name": "answer", "dtype": "float32", "shape": [None, 4]}]
    assert (ran.only.dtype, ran.only.tolist()) == (np.float32, GIVEN.tolist())


def test_openvino_takes_and_gives_it_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "small.xml"
    subprocess.run([sys.executable, "-c", WRITE_IR, str(path)], check=True, timeout=100)

    (ran,) = run_engines(tmp_path, Task("openvino", "openvino", path, {"image": GIVEN}))

    assert [spec["dtype"] for spec in (*ran.facts["inputs"], *ran.facts["outputs"])] == ["float32", "float32"]
    assert (ran.only.dtype, ran.only.tolist()) == (np.float32, np.maximum(GIVEN, 0).tolist())
