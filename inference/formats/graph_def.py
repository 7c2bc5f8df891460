"""TensorFlow's GraphDef (graph.proto, node_def.proto, function.proto): its nodes, and which of them can ever run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from inference.formats.protobuf import DAMAGED, MAX_DEPTH, TOO_DEEP, Message, as_text
from inference.formats.tensorflow_ops import DTYPES, PURE_OPS, REASONS
from inference.refusal import FileRejected, FileUnsafe, shown, size_words
from inference.signature import Shape

# Fields of AttrValue (attr_value.proto).
_LIST, _TEXT, _INTEGER, _BOOL, _TYPE, _SHAPE, _TENSOR, _FUNCTION, _LIST_FUNCTION = 1, 2, 3, 5, 6, 7, 8, 10, 9
PRINT_STREAMS = frozenset({"", "stderr", "stdout", "log(info)", "log(warning)", "log(error)"})
# TensorFlow repeats the last stored number of a constant to fill its shape: expanding to tens of megabytes is usual.
MAX_EXPANSION = 20
FREE_BYTES = 64 << 20
_CONSTANTS = frozenset({"Const", "HostConst"})
_TEXT_BYTES = 24  # memory that TensorFlow uses for one string, however short
_MOST_BYTES = 1 << 62
ONLY_CALCULATIONS = "Export only the part of the model that calculates its answer."


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; `inputs` are `node`, `node:1` or, for a control edge (order without data), `^node`."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attrs: dict[str, Message]

    @classmethod
    def read(cls, message: Message) -> Node:
        name, op, inputs, attrs = "", "", [], {}
        for number, _, value in message.fields():
            if isinstance(value, int):
                continue
            if number == 1:
                name = as_text(value)
            elif number == 2:
                op = as_text(value)
            elif number == 3:
                inputs.append(as_text(value))
            elif number == 5:
                key, content = _map_entry(Message(value, message.budget, message.depth + 1))
                if content is not None:
                    attrs[key] = content
        return cls(name, op, tuple(inputs), attrs)

    def text(self, key: str) -> str:
        return self.attrs[key].text(_TEXT) if key in self.attrs else ""

    def integer(self, key: str, default: int = 0) -> int:
        return self.attrs[key].integer(_INTEGER, default) if key in self.attrs else default

    def dtype(self, *keys: str) -> str:
        """The dtype in the first of these attributes that is present, or ""."""
        for key in keys:
            if key in self.attrs:
                return DTYPES.get(self.attrs[key].integer(_TYPE), "")
        return ""

    def dtypes(self, key: str) -> list[str]:
        items = self.attrs[key].one(_LIST) if key in self.attrs else None
        return [DTYPES.get(number, "") for number in items.integers(_TYPE)] if items else []

    def shape(self, key: str) -> Shape | None:
        message = self.attrs[key].one(_SHAPE) if key in self.attrs else None
        return read_shape(message) if message else None

    def shapes(self, key: str) -> list[Shape | None]:
        items = self.attrs[key].one(_LIST) if key in self.attrs else None
        return [read_shape(message) for message in items.all(_SHAPE)] if items else []

    def tensor(self, key: str) -> Message | None:
        return self.attrs[key].one(_TENSOR) if key in self.attrs else None

    def functions(self) -> Iterator[str]:
        """The functions that the node may call: its operation itself, and those named in its attributes."""
        yield self.op
        waiting = list(self.attrs.values())
        while waiting:
            attr = waiting.pop()
            if attr.depth > MAX_DEPTH:
                raise FileRejected(TOO_DEEP)
            named = list(attr.all(_FUNCTION))
            for items in attr.all(_LIST):
                named.extend(items.all(_LIST_FUNCTION))
            for function in named:
                yield function.text(1)
                waiting.extend(content for _, content in read_map(function, 2))


@dataclass(frozen=True, slots=True)
class GraphDef:
    """The nodes of the graph itself and the function library, by name."""

    nodes: dict[str, Node]
    functions: dict[str, Message]

    @classmethod
    def read(cls, message: Message) -> GraphDef:
        nodes: dict[str, Node] = {}
        for item in message.all(1):
            node = Node.read(item)
            if not node.name or not node.op or node.name in nodes:
                raise FileRejected(DAMAGED)
            nodes[node.name] = node
        functions: dict[str, Message] = {}
        for library in message.all(2):
            for function in library.all(1):
                signature = function.one(1)
                name = signature.text(1) if signature else ""
                if not name or name in functions:
                    raise FileRejected(DAMAGED)
                functions[name] = function
        return cls(nodes, functions)

    def upstream(self, starts: Iterable[str], *, given: Collection[str] = ()) -> list[Node]:
        """The nodes of the graph itself that `starts` (tensors or nodes) need when the tensors `given` (`node:0`) are
        supplied. Raises FileRejected for a missing node."""
        found: dict[str, Node] = {}
        waiting = [node_name(start) for start in starts]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            if name not in self.nodes:
                raise FileRejected(DAMAGED)
            found[name] = self.nodes[name]
            waiting.extend(node_name(s) for s in self.nodes[name].inputs if tensor_name(s) not in given)
        return list(found.values())


class OpCheck:
    """Walks the nodes that can run. Refuses operations that are not plain calculations, unless the file is trusted, and
    constants that together are much larger than the file (`size_bytes`). `ops` collects the operations met."""

    def __init__(self, graph: GraphDef, size_bytes: int, *, is_trusted: bool = False) -> None:
        self.graph = graph
        self._size_bytes = size_bytes
        self._is_trusted = is_trusted
        self._counted: set[tuple[str, str]] = set()
        self._declared_bytes = 0
        self._done: dict[str, frozenset[str]] = {}
        self._twins = _twins(graph)
        self.ops: set[str] = set()

    def check(
        self,
        *,
        starts: Iterable[str] = (),
        given: Collection[str] = (),
        functions: Iterable[str] = (),
        also: Collection[str] = frozenset(),
    ) -> None:
        """Check the nodes that `starts` need besides `given`, and all that the library's `functions` call. Only
        PURE_OPS and `also` are allowed. Raises FileRejected that names the operation.

        In a function every node is checked, because nodes with side effects run even if nothing needs their result.
        """
        waiting = list(functions)
        for node in self.graph.upstream(starts, given=given):
            waiting.extend(self._check_node(node, also))
        allowed = frozenset(also)
        while waiting:
            name = waiting.pop()
            if name not in self.graph.functions or self._done.get(name, None) == allowed:
                continue
            self._done[name] = allowed
            for message in self.graph.functions[name].all(3):
                waiting.extend(self._check_node(Node.read(message), also, name))
            waiting.extend(self._twins.get(name, ()))

    def _check_node(self, node: Node, also: Collection[str], function: str = "") -> list[str]:
        called = [name for name in node.functions() if name in self.graph.functions]
        if node.op in self.graph.functions:
            return called
        self.ops.add(node.op)
        if node.op in _CONSTANTS:
            self._check_constant(node, function)
        if self._is_trusted:
            return called
        if node.op == "PrintV2":
            stream = node.text("output_stream")
            if stream not in PRINT_STREAMS:
                raise refused(node, "prints to a file")
        elif node.op not in PURE_OPS and node.op not in also:
            raise refused(node, REASONS.get(node.op, "is not one of the plain calculations that are allowed here"))
        return called

    def _check_constant(self, node: Node, function: str) -> None:
        """Count the constant's size, once however often the walk meets it."""
        if (function, node.name) in self._counted:
            return
        self._counted.add((function, node.name))
        self._declared_bytes += _declared_bytes(node)
        if self._declared_bytes > FREE_BYTES + MAX_EXPANSION * self._size_bytes:
            raise FileRejected(
                f"The constant '{shown(node.name)}' brings the declared size of the graph to "
                f"{size_words(self._declared_bytes)}, but the file has only {size_words(self._size_bytes)}. "
                "Save the model again and upload the new file."
            )


def _declared_bytes(node: Node) -> int:
    """The memory that the constant takes, by its dtype and shape."""
    content = node.tensor("value")
    message = content.one(2) if content else None
    shape = read_shape(message) if message else None
    dtype = node.dtype("dtype")
    bits = dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
    total = int(bits) // 8 if bits else _TEXT_BYTES if dtype == "string" else 1
    for size in shape or ():
        total = min(_MOST_BYTES, total * (size or 0))
    return total


def refused(node: Node, reason: str) -> FileUnsafe:
    return FileUnsafe(f"The operation '{shown(node.op)}' (at '{shown(node.name)}') {reason}. {ONLY_CALCULATIONS}")


def node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def tensor_name(name: str) -> str:
    """`node:0` for `node`; a control edge stays as it is."""
    return name if ":" in name or name[:1] == "^" else f"{name}:0"


def read_shape(message: Message) -> Shape | None:
    """A TensorShapeProto; None where the rank is unknown."""
    if message.integer(3):
        return None
    sizes = [dimension.integer(1) for dimension in message.all(2)]
    return tuple(size if size >= 0 else None for size in sizes)


def read_map(message: Message, number: int) -> Iterator[tuple[str, Message]]:
    """The entries of a map from strings to messages, in the order of the file."""
    for entry in message.all(number):
        key, value = _map_entry(entry)
        if value is not None:
            yield key, value


def _map_entry(entry: Message) -> tuple[str, Message | None]:
    return entry.text(1), entry.one(2)


def _twins(graph: GraphDef) -> dict[str, list[str]]:
    """Function → all functions with its `api_implements`; TensorFlow's optimizer may swap them (LSTM on a GPU)."""
    groups: dict[str, list[str]] = {}
    for name, function in graph.functions.items():
        for key, value in read_map(function, 5):
            if key == "api_implements":
                groups.setdefault(value.text(_TEXT), []).append(name)
    return {name: names for names in groups.values() for name in names if len(names) > 1}
