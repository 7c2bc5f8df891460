"""Replaces the variables of a TensorFlow function, or only the small ones, by constants.

TensorFlow holds ten copies of a constant until the graph is converted, so large variables may be kept: as inputs, which
become constants in the target format (docs/adr/0020).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from inference.engines.tensorflow import SMALL_BYTES

_READ, _GATHER, _PASS = "ReadVariableOp", "ResourceGather", "Identity"
_NUMBERS = frozenset("fiub")
_INT32 = tf.int32.as_datatype_enum


def freeze(function: Any, *, keep_large: bool) -> tuple[Any, Mapping[str, Any]]:
    """The function with calls inlined, and the variables that are kept, by the nodes that stand for them. Raises
    ValueError for a variable that is written.

    TensorFlow's own function for this keeps no variable; the parts of it that are used here decide for each.
    """
    # Loops stay functions: ONNX, TensorFlow Lite and OpenVINO read these better than Switch and Merge.
    freezing = _Freezing(function, keep_large=keep_large)
    graph_def, converted = convert_to_constants._replace_variables_by_constants(freezing)
    return convert_to_constants._construct_concrete_function(function, graph_def, converted), freezing.kept


class _Freezing(convert_to_constants._FunctionConverterDataInEager):  # type: ignore[misc]
    """Decides what becomes a constant. `kept` are the other variables, by their nodes: large ones that are only read,
    and are not passed to a loop, whose functions accept no other type in their place."""

    def __init__(self, function: Any, *, keep_large: bool) -> None:
        self._keep_large = keep_large
        super().__init__(func=function, lower_control_flow=False, aggressive_inlining=False)

    def _should_convert(self, name: str) -> bool:
        return name not in self.kept

    @cached_property
    def kept(self) -> dict[str, Any]:
        if not self._keep_large:
            return {}
        variables = {id(variable.handle): variable for variable in self._func.graph.variables}
        readers = _Readers(self.graph_def)
        captured = ((placeholder.op.name, variables.get(id(value))) for value, placeholder in self._func.graph.captures)
        return {
            name: variable
            for name, variable in captured
            if variable is not None
            and _is_large(variable)
            and all(node.op in (_READ, _GATHER, _PASS) for node in readers.of(name))
        }


class _Readers:
    """The nodes of a graph that read a variable, or pass it on to others."""

    def __init__(self, graph_def: Any) -> None:
        self._by_source: dict[str, list[Any]] = defaultdict(list)
        for node in graph_def.node:
            for source in node.input:
                if not source.startswith("^"):
                    self._by_source[source.partition(":")[0]].append(node)

    def of(self, name: str) -> Iterator[Any]:
        for node in self._by_source[name]:
            yield node
            if node.op == _PASS:
                yield from self.of(node.name)


def size_bytes(variable: Any) -> int:
    """0 where the shape is not fixed."""
    return int((variable.shape.num_elements() or 0) * variable.dtype.size)


def _is_large(variable: Any) -> bool:
    """Whether it is large and has a dtype of NumPy's own, which bfloat16 and float8 are not."""
    return size_bytes(variable) > SMALL_BYTES and np.dtype(variable.dtype.as_numpy_dtype).kind in _NUMBERS


def read_as_tensors(graph_def: Any, kept: Mapping[str, Any]) -> None:
    """Turn the nodes that stand for variables into tensors, and adapt the nodes that read them."""
    readers = _Readers(graph_def)
    nodes = {node.name: node for node in graph_def.node}
    for name, variable in kept.items():
        number = variable.dtype.as_datatype_enum
        nodes[name].attr["dtype"].type = number
        nodes[name].attr["shape"].shape.CopyFrom(variable.shape.as_proto())
        for node in list(readers.of(name)):
            if node.op == _GATHER:
                _gather(graph_def, node, number)
            else:
                _become(node, _PASS, T=number)


def _gather(graph_def: Any, node: Any, number: int) -> None:
    """Turn a ResourceGather into a GatherV2, whose axis is an input: the first one after the batch axes."""
    batch_dims, indices = node.attr["batch_dims"].i, node.attr["Tindices"].type
    axis = graph_def.node.add(name=f"{node.name}/axis", op="Const")
    axis.attr["dtype"].type = _INT32
    axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(batch_dims, tf.int32))
    node.input.append(axis.name)
    _become(node, "GatherV2", Tparams=number, Tindices=indices, Taxis=_INT32)
    node.attr["batch_dims"].i = batch_dims


def _become(node: Any, operation: str, **types: int) -> None:
    """`types` are the dtype attributes of the operation."""
    node.op = operation
    node.attr.clear()
    for attribute, number in types.items():
        node.attr[attribute].type = number
