"""Frozen TensorFlow graphs (.pb): one GraphDef with its weights as constants, of TensorFlow 1 or 2.

Such a file does not name its inputs and outputs: its placeholders are the inputs, unconsumed nodes the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.formats.facts import FileFacts
from inference.formats.graph_def import GraphDef, Node, OpCheck, node_name, tensor_name
from inference.formats.protobuf import DAMAGED, Budget, Message, opened_bytes
from inference.formats.tensorflow_ops import COUNTED_BY, OUTPUT_COUNTS, VARIABLE_OPS
from inference.json_object import is_text
from inference.options import LONGEST_NAME, MOST_ENDS, GraphEnds
from inference.refusal import FileRejected, listed, shown

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
# Operations that may end a branch of the graph but are no outputs.
_NO_ANSWERS = frozenset({"NoOp", "Assert", "Print", "PrintV2", "Const", "ControlTrigger"})
_CONTROL_FLOW = frozenset({"Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch"})
_TYPE_KEYS = ("dtype", "output_type", "out_type", "DstT", "T", "SrcT")

NOT_FROZEN = (
    "The graph is not frozen: its weights are variables, which are not in this file. Freeze it first, or upload the "
    "model as a SavedModel or as a .keras file."
)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tensors that may be the inputs and outputs of a graph that does not name them, by name (`node:0`)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def inspect_frozen_graph(
    path: Path,
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    is_trusted: bool = False,
    on_candidates: Callable[[GraphEnds], None] = lambda ends: None,
) -> FileFacts:
    """`inputs` and `outputs` are the tensors that the user chose (`node` or `node:0`); without them, all candidates are
    taken, and a note says so if there are several. `on_candidates` is called before the checks: with other ends a
    file that they reject may be good. Raises FileRejected."""
    with opened_bytes(path) as raw:
        graph = GraphDef.read(Message(raw, Budget()))
        if not graph.nodes:
            raise FileRejected(DAMAGED)
        candidates = _candidates(graph, outputs)
        on_candidates({"graph_inputs": _choosable(candidates.inputs), "graph_outputs": _choosable(candidates.outputs)})
        chosen_inputs, chosen_outputs = _chosen(graph, candidates, inputs, outputs)
        check = OpCheck(graph, len(raw), is_trusted=is_trusted)
        check.check(starts=chosen_outputs, given=chosen_inputs)
        if check.ops & VARIABLE_OPS:
            raise FileRejected(NOT_FROZEN)
        for tensor in (*chosen_inputs, *chosen_outputs):
            _check_end(graph, tensor)
        notes = _notes(() if inputs else chosen_inputs, () if outputs else chosen_outputs)
    return FileFacts("frozen_graph", notes=notes)


def find_ends(path: Path, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> Candidates:
    """The inputs and outputs, chosen as in `inspect_frozen_graph`. Raises FileRejected."""
    with opened_bytes(path) as raw:
        graph = GraphDef.read(Message(raw, Budget()))
        return Candidates(*_chosen(graph, _candidates(graph, outputs), inputs, outputs))


def _chosen(
    graph: GraphDef, candidates: Candidates, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The chosen inputs and outputs. By default all candidates; of the inputs, those that the outputs need."""
    chosen_inputs = tuple(_tensor(graph, name, "input", candidates.inputs) for name in inputs)
    chosen_outputs = tuple(_tensor(graph, name, "output", candidates.outputs) for name in outputs) or candidates.outputs
    if not chosen_inputs:
        return _needed(graph, candidates.inputs, chosen_outputs), chosen_outputs
    _check_complete(graph, chosen_inputs, chosen_outputs)
    return chosen_inputs, chosen_outputs


def _candidates(graph: GraphDef, chosen_outputs: Sequence[str]) -> Candidates:
    """The inputs are the placeholders that any output needs: a candidate, or one that the user chose."""
    placeholders = [node for node in graph.nodes.values() if node.op in _PLACEHOLDERS]
    if not placeholders:
        raise FileRejected("The graph has no input: there is no placeholder in it. Freeze it with its inputs.")
    driven = _driven_by(graph, placeholders)
    consumed = {node_name(source) for node in graph.nodes.values() for source in node.inputs if source[:1] != "^"}
    ends = [
        node
        for node in graph.nodes.values()
        if node.name in driven and node.name not in consumed and node.op not in (_NO_ANSWERS | _PLACEHOLDERS)
    ]
    ends = [node for node in ends if not _is_left_behind(graph, node)] or ends
    if not ends:
        raise FileRejected("The graph has no output: nothing in it depends on its inputs. Freeze it with its outputs.")
    outputs = tuple(f"{node.name}:{n}" for node in ends for n in range(_output_count(node)))
    known = [name for name in chosen_outputs if node_name(name) in graph.nodes]
    return Candidates(_needed(graph, [f"{node.name}:0" for node in placeholders], [*outputs, *known]), outputs)


def _choosable(names: Sequence[str]) -> tuple[str, ...]:
    """As the options can name them: not too many, not too long."""
    short = [name.removesuffix(":0") for name in names]
    return tuple(name for name in short if is_text(name) and 0 < len(name) <= LONGEST_NAME)[:MOST_ENDS]


def _is_left_behind(graph: GraphDef, node: Node) -> bool:
    """Whether this end belongs to a TensorFlow 1 loop or branch. It has no value where the other branch is taken."""
    source = graph.nodes.get(node_name(node.inputs[0])) if node.op == "Identity" and node.inputs else None
    return node.op in _CONTROL_FLOW or (source is not None and source.op == "Switch")


def _driven_by(graph: GraphDef, placeholders: list[Node]) -> set[str]:
    """The names of all nodes that data from a placeholder reaches."""
    consumers: dict[str, list[str]] = {}
    for node in graph.nodes.values():
        for source in node.inputs:
            if source[:1] != "^":
                consumers.setdefault(node_name(source), []).append(node.name)
    driven: set[str] = set()
    waiting = [node.name for node in placeholders]
    while waiting:
        name = waiting.pop()
        if name not in driven:
            driven.add(name)
            waiting.extend(consumers.get(name, ()))
    return driven


def _needed(graph: GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Those of the inputs that these outputs depend on."""
    upstream = {node.name for node in graph.upstream(outputs)}
    return tuple(tensor for tensor in inputs if node_name(tensor) in upstream)


def _tensor(graph: GraphDef, name: str, word: str, candidates: Sequence[str]) -> str:
    node, _, number = name.partition(":")
    if node not in graph.nodes or not (number or "0").isdecimal():
        raise FileRejected(
            f"The graph has no {word} called '{shown(name)}'. Name those that are meant in the option graph_{word}s; "
            f"it has {_in_short(candidates)}."
        )
    return tensor_name(name)


def _check_complete(graph: GraphDef, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Raises FileRejected where the outputs depend on a placeholder that is not among the inputs."""
    upstream = graph.upstream(outputs, given=inputs)
    missing = [n.name for n in upstream if n.op in _PLACEHOLDERS and f"{n.name}:0" not in inputs]
    if missing:
        raise FileRejected(
            f"The outputs also need the inputs {listed(missing)}. Add them to the option graph_inputs, or choose other "
            "outputs in graph_outputs."
        )


def _notes(inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """A note where several inputs or outputs were taken because none were chosen."""
    return tuple(
        f"The graph does not say which {word} are meant; all were taken: {_in_short(names)}. "
        f"Name others in the option graph_{word}."
        for word, names in (("inputs", inputs), ("outputs", outputs))
        if len(names) > 1
    )


def _in_short(names: Sequence[str]) -> str:
    return listed([name.removesuffix(":0") for name in names])


def _output_count(node: Node) -> int:
    if node.op == "IdentityN":
        return max(1, len(node.dtypes("T")))
    if node.op in COUNTED_BY:
        return min(max(1, node.integer(COUNTED_BY[node.op], 1)), 1000)
    return OUTPUT_COUNTS.get(node.op, 1)


def _check_end(graph: GraphDef, tensor: str) -> None:
    """Raises FileRejected where the dtype or shape that the graph declares for the tensor is damaged."""
    node, digits = graph.nodes[node_name(tensor)], tensor.partition(":")[2]
    number = int(digits) if digits.isdecimal() else 0
    if number >= len(node.dtypes("T")):
        node.dtype(*_TYPE_KEYS)
    shapes = node.shapes("_output_shapes")
    if node.op in _PLACEHOLDERS and (number >= len(shapes) or shapes[number] is None):
        node.shape("shape")
