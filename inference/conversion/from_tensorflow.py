"""Converts the engine `tensorflow`'s model to a SavedModel, a frozen graph, ONNX, OpenVINO or TensorFlow Lite.

All but the SavedModel are made from a frozen graph whose inputs and outputs have the original's names. For ONNX and
OpenVINO the large weights are added after the conversion, because TensorFlow holds ten copies of a constant before it.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import tensorflow as tf

from inference.conversion import CannotConvert
from inference.conversion.freezing import freeze, read_as_tensors, size_bytes
from inference.conversion.to_onnx import write_onnx
from inference.conversion.to_openvino import write_openvino
from inference.engines.tensorflow import Traced
from inference.garbage import collect_and_give_back
from inference.signature import Signature

MOST_PROTOBUF_BYTES = 2**31 - 1
_COMPILED, _PLAIN = "_XlaMustCompile", "_plain"
_NO_NODE_NAME = re.compile(r"[^A-Za-z0-9_]")
_TABLES = (
    "The model looks something up in a table, which formats other than a SavedModel do not keep. Run it in TensorFlow."
)
_CHANGES = (
    "The model changes its own variables while it answers, which formats other than a SavedModel do not keep. "
    "Run it in TensorFlow."
)
_TOO_LARGE = (
    "The weights take more than 2 GB, which is more than one file of this format can hold. Use the original engine."
)


@dataclass(frozen=True, slots=True)
class FrozenGraph:
    """A graph with the names of its input and output nodes, in the order of the signature. `weights`: placeholder node
    → the variable that it stands for."""

    graph_def: Any
    signature: Signature
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str]:
        """Names of nodes that differ from the original's → the original's."""
        return _changed(self.signature, self.inputs, self.outputs)

    @property
    def has_twins(self) -> bool:
        """Whether an input and an output have the same name, which few formats allow."""
        originals = [spec.name for spec in (*self.signature.inputs, *self.signature.outputs)]
        return len(set(originals)) < len(originals)

    def with_own_names(self) -> FrozenGraph:
        """The same graph with the names of its nodes in the signature."""
        named = [
            tuple(replace(spec, name=name) for spec, name in zip(specs, names, strict=True))
            for specs, names in ((self.signature.inputs, self.inputs), (self.signature.outputs, self.outputs))
        ]
        return replace(self, signature=Signature(*named))


class TracedConversion:
    """Writes several targets of one model. Targets that need the same frozen graph share it."""

    def __init__(self, traced: Traced) -> None:
        self._traced = traced

    def write(self, target: str, path: Path) -> dict[str, str]:
        """Write the file at `path`; the names that had to change. Raises CannotConvert."""
        match target:
            case "saved_model":
                return _write_saved_model(self._traced, path)
            case "frozen_graph":
                path.write_bytes(_serialized(self._whole))
                return self._whole.names
            case "onnx":
                return self._write_named(_write_onnx, path)
            case "openvino":
                return self._write_named(_write_openvino, path)
            case _:
                frozen = _frozen(_one_at_a_time(self._traced))
                _write_tflite(frozen, path)
                return frozen.names

    @cached_property
    def _whole(self) -> FrozenGraph:
        return _frozen(self._traced)

    @cached_property
    def _without_weights(self) -> FrozenGraph:
        return _frozen(self._traced, keep_large=True)

    def _write_named(self, write: Callable[[FrozenGraph, Path], None], path: Path) -> dict[str, str]:
        """Write a format that keeps the original names, unless two of these are the same."""
        frozen = self._without_weights
        if not frozen.has_twins:
            write(frozen, path)
            return {}
        write(frozen.with_own_names(), path)
        return frozen.names


def _concrete(traced: Traced) -> Any:
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=f"in_{i}") for i, spec in enumerate(traced.signature.inputs)]
    function = tf.function(lambda *tensors: list(traced.call(*tensors)), input_signature=specs, autograph=False)
    return function.get_concrete_function()


def _frozen(traced: Traced, *, keep_large: bool = False) -> FrozenGraph:
    frozen = _freeze(traced, keep_large=keep_large)
    collect_and_give_back()  # TensorFlow's functions are reference cycles and hold ten copies of the weights
    return frozen


def _freeze(traced: Traced, *, keep_large: bool) -> FrozenGraph:
    function, kept = _with_constants(_concrete(traced), keep_large=keep_large)
    function = _inlined(function)
    graph_def = tf.compat.v1.GraphDef()
    graph_def.CopyFrom(function.graph.as_graph_def())
    read_as_tensors(graph_def, kept)
    inputs, outputs = _end_names(traced.signature)
    placeholders = [tensor.op.name for tensor in function.inputs if tensor.op.name not in kept]
    if len(placeholders) > len(inputs):  # resources other than variables cannot become constants
        tables = (node.op for node in graph_def.node if node.op.startswith("LookupTable"))
        raise CannotConvert(next(tables, ""), _TABLES)
    weights = {f"weights/{i}": variable for i, variable in enumerate(kept.values())}
    names = dict(zip([*placeholders, *kept], [*inputs, *weights], strict=True))
    _rename_nodes(graph_def, names)
    for name, tensor in zip(outputs, function.outputs, strict=True):
        node = graph_def.node.add(name=name, op="Identity", input=[_renamed(tensor.name, names)])
        node.attr["T"].type = tensor.dtype.as_datatype_enum
    return FrozenGraph(graph_def, traced.signature, inputs, outputs, weights)


def _with_constants(function: Any, *, keep_large: bool = False) -> tuple[Any, Mapping[str, Any]]:
    """The function with constants in place of its variables, and the variables that were kept, by their placeholders.
    Raises CannotConvert where it writes into one."""
    try:
        return freeze(function, keep_large=keep_large)
    except ValueError as error:
        if "incompatible with expected resource" in str(error):  # operations that write accept no constant
            raise CannotConvert("", _CHANGES) from error
        raise


def _inlined(function: Any) -> Any:
    """The frozen function with functions that are marked for XLA inlined: Keras' grouped convolutions (`_conv_xla`).

    The functions get other names, because TensorFlow has the old names registered with the marks.
    """
    graph_def = function.graph.as_graph_def()
    called = graph_def.library.function
    if not any(_COMPILED in one.attr for one in called):
        return function
    nodes = [*graph_def.node, *(node for one in called for node in one.node_def)]
    for marked in (*called, *nodes):
        for mark in (_COMPILED, "_noinline"):
            marked.attr.pop(mark, None)
    for one in called:
        one.signature.name += _PLAIN
    for value in (value for node in nodes for value in node.attr.values()):
        for callee in (value.func, *value.list.func):
            if callee.name:
                callee.name += _PLAIN
    ends = [tensor.name for tensor in function.inputs], [tensor.name for tensor in function.outputs]
    return _with_constants(_between(graph_def, *ends))[0]


def _between(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The part of a graph between these tensors, as a function."""
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    element = wrapped.graph.as_graph_element
    return wrapped.prune([element(name) for name in inputs], [element(name) for name in outputs])


def _rename_nodes(graph_def: Any, names: Mapping[str, str]) -> None:
    """Placeholders get the names given, every other node moves under `graph/`, so that no name is taken."""
    for node in graph_def.node:
        node.name = _fresh(node.name, names)
        for i, source in enumerate(node.input):
            is_control = source.startswith("^")
            base, colon, port = source.removeprefix("^").partition(":")
            node.input[i] = f"{'^' if is_control else ''}{_fresh(base, names)}{colon}{port}"
        if "_class" in node.attr:
            del node.attr["_class"]  # hints about placement by node name, of no use in another process


def _fresh(name: str, names: Mapping[str, str]) -> str:
    return names.get(name, f"graph/{name}")


def _renamed(tensor_name: str, names: Mapping[str, str]) -> str:
    base, _, port = tensor_name.partition(":")
    name = _fresh(base, names)
    return name if port in ("", "0") else f"{name}:{port}"


def _end_names(signature: Signature) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Unique names that a node and a Python argument can have."""
    taken: set[str] = {"graph", "self"}
    chosen: list[str] = []
    for spec in (*signature.inputs, *signature.outputs):
        base = _NO_NODE_NAME.sub("_", spec.name) or "tensor"
        base = base if base[0].isalpha() else f"t{base}"
        name, count = base, 2
        while name in taken:
            name, count = f"{base}_{count}", count + 1
        taken.add(name)
        chosen.append(name)
    cut = len(signature.inputs)
    return tuple(chosen[:cut]), tuple(chosen[cut:])


def _changed(signature: Signature, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> dict[str, str]:
    pairs = zip((*inputs, *outputs), (*signature.inputs, *signature.outputs), strict=True)
    return {name: spec.name for name, spec in pairs if name != spec.name}


def _serialized(frozen: FrozenGraph) -> bytes:
    try:
        return bytes(frozen.graph_def.SerializeToString())
    except ValueError as error:
        raise CannotConvert("", _TOO_LARGE) from error


def _named_function(call: Callable[..., Any], frozen_names: tuple[tuple[str, ...], tuple[str, ...]],
                    signature: Signature) -> Any:  # fmt: skip
    """A concrete function with named arguments that returns a dict of named outputs."""
    inputs, outputs = frozen_names

    def named(**tensors: Any) -> dict[str, Any]:
        answers = call(*(tensors[name] for name in inputs))
        return {name: tf.identity(tensor) for name, tensor in zip(outputs, answers, strict=True)}

    specs = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for name, spec in zip(inputs, signature.inputs, strict=True)
    }
    return tf.function(named, autograph=False).get_concrete_function(**specs)


def _write_saved_model(traced: Traced, path: Path) -> dict[str, str]:
    module = tf.Module()
    module.variables_kept = list(traced.variables)
    module.kept = traced.keep if isinstance(traced.keep, tf.__internal__.tracking.Trackable) else None
    ends = _end_names(traced.signature)
    function = _named_function(traced.call, ends, traced.signature)
    with tempfile.TemporaryDirectory(prefix="saved-") as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": function})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder))
    return _changed(traced.signature, *ends)


def _write_openvino(frozen: FrozenGraph, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="frozen-") as folder:
        graph = Path(folder) / "graph.pb"
        graph.write_bytes(_serialized(frozen))
        ends = frozen.inputs, frozen.outputs
        write_openvino(graph, path, frozen.signature, *ends, weights=frozen.weights)


def _write_onnx(frozen: FrozenGraph, path: Path) -> None:
    if len(_serialized(frozen)) + sum(map(size_bytes, frozen.weights.values())) > MOST_PROTOBUF_BYTES:
        raise CannotConvert("", _TOO_LARGE)
    ends = frozen.inputs, frozen.outputs
    write_onnx(frozen.graph_def, path, frozen.signature, *ends, weights=frozen.weights)


def _write_tflite(frozen: FrozenGraph, path: Path) -> None:
    ends = [f"{name}:0" for name in frozen.inputs], [f"{name}:0" for name in frozen.outputs]
    pruned = _between(frozen.graph_def, *ends)
    function = _named_function(
        lambda *tensors: tf.nest.flatten(pruned(*tensors)), (frozen.inputs, frozen.outputs), frozen.signature
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    try:
        path.write_bytes(converter.convert())
    except Exception as error:
        text = str(error)
        operation = (
            _found(r"(?:TF Select|Custom) ops: (\w+)", text)
            or _found(r"'tf\.(\w+)' op", text)
            or _found(r"[Oo]p(?:eration)? type '?(\w+)", text)
        )
        reason = f"has no operation for {operation}, which the model uses" if operation else "cannot express the model"
        raise CannotConvert(operation, f"TensorFlow Lite {reason}. Use another engine.") from error


def _one_at_a_time(traced: Traced) -> Traced:
    """Fix the batch at one, as usual for TensorFlow Lite: it cannot express recurrent layers with a free batch."""
    specs = (*traced.signature.inputs, *traced.signature.outputs)
    if not all(spec.shape and spec.shape[0] is None for spec in specs):
        return traced
    inputs = tuple(replace(spec, shape=(1, *spec.shape[1:])) for spec in traced.signature.inputs)
    return replace(traced, signature=Signature(inputs, traced.signature.outputs))


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
