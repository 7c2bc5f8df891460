"""Small models without TensorFlow: one whose answer says its version, one that can be made to misbehave."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIZE = 4
ROUNDS_A_SECOND = 500_000
"""Of the workbench, as a slow machine does them; a fast one does twice as many."""
ENDLESS = 10**15


def adder(path: Path, number: int) -> Path:
    """An OpenVINO model, y = x + number, (N,4) float32: an upload whose answers prove which file made them."""
    ports = f"<dim>-1</dim><dim>{SIZE}</dim>"
    layers = (
        f'<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,{SIZE}" element_type="f32"/>'
        f'<output><port id="0" precision="FP32" names="x">{ports}</port></output></layer>'
        '<layer id="1" name="number" type="Const" version="opset1">'
        '<data element_type="f32" shape="" offset="0" size="4"/>'
        '<output><port id="0" precision="FP32"/></output></layer>'
        '<layer id="2" name="sum" type="Add" version="opset1"><data auto_broadcast="numpy"/>'
        f'<input><port id="0" precision="FP32">{ports}</port><port id="1" precision="FP32"/></input>'
        f'<output><port id="2" precision="FP32" names="y">{ports}</port></output></layer>'
        '<layer id="3" name="end" type="Result" version="opset1" output_names="y">'
        f'<input><port id="0" precision="FP32">{ports}</port></input></layer>'
    )
    edges = "".join(
        f'<edge from-layer="{a}" from-port="{b}" to-layer="{c}" to-port="{d}"/>'
        for a, b, c, d in ((0, 0, 2, 0), (1, 0, 2, 1), (2, 2, 3, 0))
    )
    xml = f'<?xml version="1.0"?>\n<net name="adder" version="11"><layers>{layers}</layers><edges>{edges}</edges></net>'
    weights = struct.pack("<f", number)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.xml", xml)
        archive.writestr("model.bin", weights)
    return path


def swollen(path: Path, adder_path: Path, *, noise_bytes: int, zero_bytes: int) -> Path:
    """The same model as a .tar.gz, its weights followed by noise and by zeros: the zeros take no room while packed.

    An engine unpacks a tar into its own folder; a zip it can read in place.
    """
    with zipfile.ZipFile(adder_path) as packed, tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in ("model.xml", "model.bin"):
            data = packed.read(name)
            if name.endswith(".bin"):
                data += os.urandom(noise_bytes) + bytes(zero_bytes)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def asked(value: float = 0.0) -> dict[str, Any]:
    """One row for the adder."""
    return {"instances": [[value] * SIZE]}


def added(answer: dict[str, Any]) -> float:
    """What the adder made of the first element of that row."""
    return float(answer["predictions"][0]["outputs"][0]["data"][0][0])


def workbench(path: Path) -> Path:
    """An ONNX model whose input says how long it takes, how much memory, and whether it ends its process."""
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    body = helper.make_graph(
        [helper.make_node("Add", ["before", "one"], ["after"]), helper.make_node("Identity", ["go"], ["on"])],
        "round",
        [_info("i", TensorProto.INT64, []), _info("go", TensorProto.BOOL, []), _info("before", TensorProto.FLOAT, [1])],
        [_info("on", TensorProto.BOOL, []), _info("after", TensorProto.FLOAT, [1])],
        [one],
    )
    nodes = [
        helper.make_node("ConstantOfShape", ["floats"], ["filled"], value=one),
        helper.make_node("ReduceSum", ["filled"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "row"], ["start"]),
        helper.make_node("Squeeze", ["rounds"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "start"], ["total"], body=body),
        helper.make_node("Sub", ["divisor", "three"], ["by"]),
        helper.make_node("Div", ["least", "by"], ["quotient"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "row"),
        numpy_helper.from_array(np.array([3], np.int32), "three"),
        numpy_helper.from_array(np.array([-(2**31)], np.int32), "least"),
    ]
    graph = helper.make_graph(
        nodes,
        "workbench",
        [
            _info("rounds", TensorProto.INT64, [1]),
            _info("floats", TensorProto.INT64, [1]),
            _info("divisor", TensorProto.INT32, [1]),
        ],
        [_info("total", TensorProto.FLOAT, [1]), _info("quotient", TensorProto.INT32, [1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def work(*, rounds: int = 0, floats: int = 0, kills: bool = False, fails: bool = False) -> dict[str, Any]:
    """A body for the workbench.

    `kills`: the least int32 is divided by minus one, which the processor answers with SIGFPE. `fails`: it is divided by
    zero, which the engine reports as an error.
    """
    divisor = 2 if kills else 3 if fails else 0
    return {"inputs": {"rounds": [rounds], "floats": [floats], "divisor": [divisor]}}


def pictures(path: Path) -> Path:
    """An ONNX model that takes pictures (N,8,8,3) and answers three scores: the mean of each colour."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "pictures",
        [_info("pixels", TensorProto.FLOAT, ["n", 8, 8, 3])],
        [_info("scores", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def wide(path: Path, megabytes: int) -> Path:
    """An ONNX model of zeros that takes this much memory when it is loaded, and hardly any on disk."""
    rows = megabytes * 2**20 // 4
    shape = numpy_helper.from_array(np.array([rows], np.int64), "shape")
    nodes = [
        helper.make_node(
            "ConstantOfShape", ["shape"], ["zeros"], value=numpy_helper.from_array(np.ones(1, np.float32))
        ),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "wide", [_info("x", TensorProto.FLOAT, [1])], [_info("y", TensorProto.FLOAT, [1])], [shape]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def _info(name: str, kind: int, shape: list[int | str]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
