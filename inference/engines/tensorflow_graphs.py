"""SavedModels and frozen graphs as TensorFlow functions."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from inference.archives import is_archive, unpack
from inference.engines import ModelUnusable, first_line, holds_text
from inference.formats.frozen_graph import find_ends
from inference.refusal import FileRejected
from inference.signature import Signature, TensorSpec

_DEFAULT_SIGNATURE = "serving_default"
_SERVE = "serve"
_GRAPH = "saved_model.pb"
_REPEATING = (b"While", b"NextIteration")
_READING = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")
_WRITING = ("Assign", "ResourceScatter", "ResourceStridedSliceAssign", "ResourceApply", "ResourceSparseApply")
_CHOOSE = "Save it with a shape, or choose other outputs in the option graph_outputs."


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A function of tensors in the order of the signature; `keep` must live as long as it. `may_loop`: see Engine.
    `remembers`: a call writes to variables, which another call at the same time would see."""

    call: Callable[..., Sequence[Any]]
    signature: Signature
    keep: Any
    may_loop: bool = True
    remembers: bool = False


def open_saved_model(path: Path) -> GraphModel:
    """A SavedModel, as a folder or an archive. Raises ModelUnusable with a sentence."""
    with tempfile.TemporaryDirectory(prefix="saved-model-") as folder:
        _lay_out(path, Path(folder) / "model")
        root = _root_of(Path(folder))
        return replace(_open_folder(root), may_loop=holds_text(root / _GRAPH, _REPEATING))  # weights are in memory


def _lay_out(path: Path, folder: Path) -> None:
    """Fill `folder` with the files of an archive or a folder, or a lone saved_model.pb (a graph without variables)."""
    try:
        if path.is_dir():
            shutil.copytree(path, folder)
        elif is_archive(path):
            unpack(path, folder)
        else:
            folder.mkdir()
            shutil.copyfile(path, folder / _GRAPH)
    except FileRejected as refusal:
        raise ModelUnusable(refusal.message) from refusal


def open_frozen_graph(path: Path, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> GraphModel:
    """A GraphDef whose variables are constants. Inputs and outputs are chosen as in `find_ends`. Raises ModelUnusable
    with a sentence."""
    graph_def = tf.compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
        ends = find_ends(path, inputs, outputs)
        graph = _of_graph_def(
            graph_def, {_short(name): name for name in ends.inputs}, {_short(name): name for name in ends.outputs}
        )
        return replace(graph, may_loop=holds_text(path, _REPEATING))
    except ModelUnusable:
        raise
    except FileRejected as refusal:
        raise ModelUnusable(refusal.message) from refusal
    except Exception as error:
        raise ModelUnusable(f"TensorFlow cannot read the graph: {first_line(error)}") from error


def _of_graph_def(
    graph_def: Any, feeds: Mapping[str, str], fetches: Mapping[str, str], shapes: Mapping[str, Any] | None = None
) -> GraphModel:
    """The part of a graph between `feeds` and `fetches`, both public name → name of the tensor. `shapes` are those of
    outputs where known from elsewhere: a function called in a graph has lost its own."""
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    pruned = wrapped.prune(
        [wrapped.graph.as_graph_element(name) for name in feeds.values()],
        [wrapped.graph.as_graph_element(name) for name in fetches.values()],
    )
    for name, tensor in zip(fetches, pruned.outputs, strict=True):
        tensor.set_shape((shapes or {}).get(name))
    _try_ranks(pruned)
    signature = Signature(
        tuple(_spec(name, tensor) for name, tensor in zip(feeds, pruned.inputs, strict=True)),
        tuple(_spec(name, tensor, _CHOOSE) for name, tensor in zip(fetches, pruned.outputs, strict=True)),
    )

    def call(*tensors: Any) -> list[Any]:
        answers = tf.nest.flatten(pruned(*tensors))
        for answer, known in zip(answers, pruned.outputs, strict=True):
            answer.set_shape(known.shape)
        return list(answers)

    return GraphModel(call, signature, (wrapped, pruned))


def _try_ranks(function: Any) -> None:
    """Where an output's rank is unknown (a loop has lost it), find it by running the function on zeros."""
    shapes = [tensor.shape for tensor in function.inputs]
    if None in [shape.rank for shape in shapes] or None not in [tensor.shape.rank for tensor in function.outputs]:
        return
    zeros = [tf.zeros([n or 1 for n in tensor.shape], tensor.dtype) for tensor in function.inputs]
    with contextlib.suppress(tf.errors.OpError):
        for tensor, answer in zip(function.outputs, tf.nest.flatten(function(*zeros)), strict=True):
            tensor.set_shape([None] * answer.shape.rank if tensor.shape.rank is None else None)


def _open_folder(folder: Path) -> GraphModel:
    try:
        loaded = _load(folder)
        if isinstance(loaded, GraphModel):
            return loaded
        signatures = dict(loaded.signatures)
    except ModelUnusable:
        raise
    except Exception as error:
        raise ModelUnusable(f"TensorFlow cannot read the SavedModel: {first_line(error)}") from error
    function = signatures[_signature_key(signatures)]
    inputs = dict(sorted(function.structured_input_signature[1].items()))
    outputs = function.structured_outputs
    names = sorted(outputs)
    signature = Signature(
        tuple(_spec(name, tensor) for name, tensor in inputs.items()),
        tuple(_spec(name, outputs[name]) for name in names),
    )

    written = [(variable, variable.read_value()) for variable in _written(function)]

    def call(*tensors: Any) -> list[Any]:
        for variable, as_saved in written:
            variable.assign(as_saved)
        answers = function(**dict(zip(inputs, tensors, strict=True)))
        return [answers[name] for name in names]

    return GraphModel(call, signature, loaded, remembers=bool(written))


def _written(function: Any) -> list[Any]:
    """The variables that a call may write to.

    Since 2.2 TensorFlow records for each call of a function which variables it only reads. In older files all count as
    written, so they are returned only if the graph has an operation that writes.
    """
    within: set[int] = set()
    for operation in function.graph.get_operations():
        handed = {i: id(tensor) for i, tensor in enumerate(operation.inputs) if tensor.dtype == tf.resource}
        if handed and operation.type not in _READING:
            only_read = set(operation.node_def.attr["_read_only_resource_inputs"].list.i)
            within |= {tensor for i, tensor in handed.items() if i not in only_read}
    handles = {id(outside) for outside, inside in function.graph.captures if id(inside) in within}
    variables = [variable for variable in function.variables if id(variable.handle) in handles]
    return variables if variables and _can_write(function.graph.as_graph_def()) else []


def _can_write(graph: Any) -> bool:
    bodies = (graph.node, *(function.node_def for function in graph.library.function))
    return any(node.op.startswith(_WRITING) for nodes in bodies for node in nodes)


def _load(folder: Path) -> Any:
    """What `tf.saved_model.load` returns, or the model as a frozen graph: for TensorFlow 1, whose variables no
    converter accepts, and where nothing else reads the file. Not with tables, which cannot become constants."""
    try:
        loaded = tf.saved_model.load(str(folder))
    except (AttributeError, ValueError, KeyError):
        try:
            return _without_slots(folder)
        except Exception:
            with contextlib.suppress(Exception):
                return _frozen_by_session(folder)
            raise
    if hasattr(loaded, "prune"):  # of TensorFlow 1
        with contextlib.suppress(Exception):
            return _frozen_by_session(folder)
    return loaded


def _without_slots(folder: Path) -> Any:
    """The SavedModel without the optimizer's values for each weight (`SavedObject.slot_variables`). To restore them,
    TensorFlow calls a method of Keras 2's optimizers that no longer exists (`add_slot`)."""
    saved = saved_model_pb2.SavedModel.FromString((folder / _GRAPH).read_bytes())
    for meta_graph in saved.meta_graphs:
        nodes = meta_graph.object_graph_def.nodes
        for slot in [slot for node in nodes for slot in node.slot_variables]:
            nodes[slot.slot_variable_node_id].Clear()
            nodes[slot.slot_variable_node_id].user_object.identifier = "_generic_user_object"
        for node in nodes:
            node.ClearField("slot_variables")
    (folder / _GRAPH).write_bytes(saved.SerializeToString())
    return tf.saved_model.load(str(folder), options=tf.saved_model.LoadOptions(allow_partial_checkpoint=True))


def _frozen_by_session(folder: Path) -> GraphModel:
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        described = tf.compat.v1.saved_model.load(session, [_SERVE], str(folder))
        if graph.get_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS):
            raise ValueError("tables")
        chosen = described.signature_def[_signature_key(described.signature_def)]
        feeds = {name: chosen.inputs[name].name for name in sorted(chosen.inputs)}
        fetches = {name: chosen.outputs[name].name for name in sorted(chosen.outputs)}
        shapes = {name: tf.TensorShape(chosen.outputs[name].tensor_shape) for name in fetches}
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), [_node_of(name) for name in fetches.values()]
        )
    return _of_graph_def(frozen, feeds, fetches, shapes)


def _signature_key(signatures: Mapping[str, Any]) -> str:
    known = sorted(name for name in signatures if not name.startswith("__"))
    if not known:
        raise ModelUnusable(
            "The SavedModel has no signature that says what goes in and comes out. Save it with model.export('name')."
        )
    return _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in known else known[0]


def _root_of(folder: Path) -> Path:
    """The folder that holds `saved_model.pb`: this one, or the only one below it that does."""
    found = [path.parent for path in sorted(folder.rglob(_GRAPH)) if path.is_file()]
    if len(found) != 1:
        raise ModelUnusable(f"The archive holds {len(found)} files called saved_model.pb; exactly one is expected.")
    return found[0]


def _node_of(name: str) -> str:
    return name.removeprefix("^").split(":")[0]


def _short(name: str) -> str:
    return name.removesuffix(":0")


def _spec(name: str, tensor: Any, remedy: str = "Save it with a shape.") -> TensorSpec:
    if tensor.shape.rank is None:
        raise ModelUnusable(f"The file does not say how many dimensions {name} has. {remedy}")
    return TensorSpec(name, tensor.dtype.name, tuple(None if n is None else int(n) for n in tensor.shape))
