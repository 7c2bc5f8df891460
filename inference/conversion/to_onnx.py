"""Converts a frozen TensorFlow graph to ONNX with tf2onnx."""

from __future__ import annotations

import contextlib
import gc
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tf2onnx
from onnx.reference import ReferenceEvaluator
from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase

from inference.conversion import CannotConvert
from inference.engines import first_line
from inference.signature import Signature

ONNX_OPSET = 18
_OPERATION = re.compile(r"(?:op|operation|type)[ =:]*\[?['\"]?(\w+)")
_OF_A_WEIGHT = frozenset({"Cast", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operations between a weight and its use. ONNX Runtime would compute them at each load, so they are computed during
the conversion, unless they make the weight larger (int8 to float32)."""


def write_onnx(
    graph_def: Any,
    path: Path,
    signature: Signature,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    weights: Mapping[str, Any],
) -> None:
    """Write the file at `path`. `inputs` and `outputs` are the nodes in the order of the signature, whose names the
    result gets; `weights` (variables) replace the inputs of these names as constants. Raises CannotConvert."""
    taken, answered = ([f"{name}:0" for name in names] for names in (inputs, outputs))
    originals = [spec.name for spec in (*signature.inputs, *signature.outputs)]
    outside = {f"{name}:0": weight for name, weight in weights.items()}
    try:
        with _old_graphs_collected():
            model, _ = tf2onnx.convert.from_graph_def(
                graph_def,
                input_names=[*taken, *outside],
                output_names=answered,
                opset=ONNX_OPSET,
                tensors_to_rename=dict(zip([*taken, *answered], originals, strict=True)),
                custom_op_handlers={"Erfc": (_erfc, [])},
            )
    except Exception as error:
        found = _OPERATION.search(str(error))
        sentence = f"ONNX cannot express the model: {first_line(error)}"
        raise CannotConvert(found[1] if found else "", sentence) from error
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    for node in model.graph.node:
        if not _is_onnx(node, opsets):
            raise CannotConvert(node.op_type, f"ONNX has no operation for {node.op_type}, which the model uses.")
    _fill_in(model, outside)
    onnx.save_model(model, str(path))


@contextlib.contextmanager
def _old_graphs_collected() -> Iterator[None]:
    """tf2onnx copies the whole graph before each of its passes. Graphs are reference cycles, so each copy would stay
    until a full collection: ResNet50 (100 MB) took 8.8 GB and 28 s, with a collection at each pass 3.2 GB and 14 s."""
    run_pass = GraphOptimizerBase.optimize

    def collect_and_run(optimizer: Any, graph: Any, iteration: int) -> Any:
        gc.collect()
        return run_pass(optimizer, graph, iteration)

    GraphOptimizerBase.optimize = collect_and_run
    try:
        yield
    finally:
        GraphOptimizerBase.optimize = run_pass


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """1 − erf(x): ONNX has no Erfc, which every exact GELU is made of."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    one = graph.make_const(f"{name}_one", np.ones((), tf2onnx.utils.map_onnx_to_numpy_type(dtypes[0])))
    erf = graph.make_node("Erf", node.input)
    ends = [one.output[0], erf.output[0]]
    graph.make_node("Sub", ends, name=name, outputs=node.output, shapes=shapes, dtypes=dtypes)


def _is_onnx(node: Any, opsets: dict[str, int]) -> bool:
    if node.domain == "ai.onnx.ml":
        return True
    with contextlib.suppress(onnx.defs.SchemaError):
        return bool(onnx.defs.get_schema(node.op_type, opsets.get(node.domain, ONNX_OPSET), node.domain))
    return False


def _fill_in(model: Any, weights: Mapping[str, Any]) -> None:
    """Replace the inputs that are named in `weights` (variables) by constants."""
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    arrays = {entry.name: weights[entry.name].numpy() for entry in graph.input if entry.name in weights}
    inputs = [entry for entry in graph.input if entry.name not in weights]
    readers = Counter(_read_names(graph))
    nodes = []
    for node in graph.node:
        is_of_a_weight = node.op_type in _OF_A_WEIGHT and node.input[0] in arrays and readers[node.input[0]] == 1
        if is_of_a_weight and all(name in constants for name in node.input[1:]):
            given = {name: onnx.numpy_helper.to_array(constants[name]) for name in node.input[1:]}
            given[node.input[0]] = arrays[node.input[0]]
            (made,) = ReferenceEvaluator(node).run(None, given)
            if made.nbytes <= given[node.input[0]].nbytes:
                del arrays[node.input[0]]
                arrays[node.output[0]] = made
                continue
        nodes.append(node)
    for field, kept in ((graph.input, inputs), (graph.node, nodes)):
        del field[:]
        field.extend(kept)
    while arrays:
        name, array = arrays.popitem()
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))


def _read_names(graph: Any) -> Iterator[str]:
    """The name of each value read in the graph and in those of its loops and branches, once for each read."""
    yield from (output.name for output in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _read_names(inner)
