"""Weights that stood outside of a graph while it became ONNX: put in the place of its inputs of their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator

_OF_A_WEIGHT = frozenset({"Cast", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What stands between a weight and the operation that it is for. ONNX Runtime would compute it at each load; where that
makes the weight larger (int8 to float32), it does."""


def fill_in(model: Any, weights: Mapping[str, Any]) -> None:
    """Make constants of the inputs that are called as one of `weights` (variables)."""
    graph = model.graph
    constants = {constant.name: constant for constant in graph.initializer}
    arrays = {entry.name: weights[entry.name].numpy() for entry in graph.input if entry.name in weights}
    inputs = [entry for entry in graph.input if entry.name not in weights]
    readers = Counter(name for node in graph.node for name in node.input)
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
