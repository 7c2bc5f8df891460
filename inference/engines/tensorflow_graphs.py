"""SavedModels and frozen graphs as functions of TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from inference.engines import ModelUnusable, first_line
from inference.engines.unpacking import unpack
from inference.signature import Signature, TensorSpec

_DEFAULT_SIGNATURE = "serving_default"
_NO_OUTPUTS = frozenset({"Const", "NoOp", "Assert", "Placeholder", "SaveV2", "RestoreV2", "Variable", "VariableV2"})


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A function of tensors in the order of the signature; `keep` must live as long as it."""

    call: Callable[..., Sequence[Any]]
    signature: Signature
    keep: Any


def open_saved_model(path: Path) -> GraphModel:
    """A SavedModel, as a folder or an archive. Raises ModelUnusable with a sentence."""
    if path.is_dir():
        return _open_folder(_root_of(path))
    with tempfile.TemporaryDirectory(prefix="saved-model-") as folder:
        unpack(path, Path(folder))
        return _open_folder(_root_of(Path(folder)))  # TensorFlow has read the weights when this returns


def open_frozen_graph(path: Path, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> GraphModel:
    """A GraphDef whose variables are constants. Without names given, its placeholders go in and what nobody uses comes
    out. Raises ModelUnusable with a sentence."""
    graph_def = tf.compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
        feeds, fetches = _ends(graph_def, inputs, outputs)
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        pruned = wrapped.prune(
            [wrapped.graph.as_graph_element(name) for name in feeds],
            [wrapped.graph.as_graph_element(name) for name in fetches],
        )
    except ModelUnusable:
        raise
    except Exception as error:
        raise ModelUnusable(f"TensorFlow cannot read the graph: {first_line(error)}") from error
    signature = Signature(
        tuple(_spec(_short(name), tensor) for name, tensor in zip(feeds, pruned.inputs, strict=True)),
        tuple(_spec(_short(name), tensor) for name, tensor in zip(fetches, pruned.outputs, strict=True)),
    )

    def call(*tensors: Any) -> list[Any]:
        return list(tf.nest.flatten(pruned(*tensors)))

    return GraphModel(call, signature, (wrapped, pruned))


def _open_folder(folder: Path) -> GraphModel:
    try:
        loaded = _load(folder)
        signatures = dict(loaded.signatures)
    except Exception as error:
        raise ModelUnusable(f"TensorFlow cannot read the SavedModel: {first_line(error)}") from error
    if not signatures:
        raise ModelUnusable(
            "The SavedModel has no signature that says what goes in and comes out. Save it with model.export('name')."
        )
    key = _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in signatures else sorted(signatures)[0]
    function = signatures[key]
    inputs = dict(sorted(function.structured_input_signature[1].items()))
    outputs = function.structured_outputs
    names = sorted(outputs)
    signature = Signature(
        tuple(_spec(name, tensor) for name, tensor in inputs.items()),
        tuple(_spec(name, outputs[name]) for name in names),
    )

    def call(*tensors: Any) -> list[Any]:
        answers = function(**dict(zip(inputs, tensors, strict=True)))
        return [answers[name] for name in names]

    return GraphModel(call, signature, loaded)


def _load(folder: Path) -> Any:
    """SavedModels with slots of a Keras 2 optimizer name a method that nobody has any more (`add_slot`); read as the
    graph and signatures of TensorFlow 1, which every SavedModel also is, they load."""
    try:
        return tf.saved_model.load(str(folder))
    except (AttributeError, ValueError, KeyError) as error:
        from tensorflow.python.saved_model import load_v1_in_v2

        try:
            return load_v1_in_v2.load(str(folder), ["serve"], None, False)
        except Exception:
            raise error from None


def _root_of(folder: Path) -> Path:
    """The folder that holds `saved_model.pb`: this one, or the only one in it that does."""
    found = [path.parent for path in sorted(folder.rglob("saved_model.pb")) if path.is_file()]
    if len(found) != 1:
        raise ModelUnusable(f"The archive holds {len(found)} files called saved_model.pb; exactly one is expected.")
    if not (found[0] / "variables").is_dir():
        raise ModelUnusable(
            "The SavedModel comes without its folder of variables, which holds the weights. Pack the whole folder."
        )
    return found[0]


def _ends(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tensor names that go in and come out."""
    nodes = {node.name: node for node in graph_def.node}
    used = {_node_of(name) for node in graph_def.node for name in node.input}
    fetches = list(outputs) or [n.name for n in graph_def.node if n.name not in used and n.op not in _NO_OUTPUTS]
    if not fetches:
        raise ModelUnusable("The graph has no output. Save it again with the node that answers in it.")
    needed: set[str] = set()
    waiting = [_node_of(name) for name in fetches]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        if name not in nodes:
            raise ModelUnusable(f"The graph has no node called {name}. Name one that it has.")
        needed.add(name)
        waiting.extend(_node_of(source) for source in nodes[name].input)
    feeds = list(inputs) or [n.name for n in graph_def.node if n.op == "Placeholder" and n.name in needed]
    if not feeds:
        raise ModelUnusable("The graph has no input (placeholder). Save it again with one.")
    return [_tensor_name(name) for name in feeds], [_tensor_name(name) for name in fetches]


def _node_of(name: str) -> str:
    return name.removeprefix("^").split(":")[0]


def _tensor_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _short(name: str) -> str:
    return name.removesuffix(":0")


def _spec(name: str, tensor: Any) -> TensorSpec:
    if tensor.shape.rank is None:
        raise ModelUnusable(f"The file does not say how many dimensions {name} has. Save it with a shape.")
    dtype = np.dtype(tensor.dtype.as_numpy_dtype).name
    return TensorSpec(name, dtype, tuple(None if n is None else int(n) for n in tensor.shape))
