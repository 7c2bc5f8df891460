"""Makes TensorFlow graphs and SavedModels by hand (graph.proto, saved_model.proto), good and bad."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.wire_bytes import entry, pb

FLOAT = 1
VARIABLES = ("variables/variables.index", "variables/variables.data-00000-of-00001")


def shape(*sizes: int) -> bytes:
    return pb(*[(2, pb((1, size))) for size in sizes])


def of_type(number: int) -> bytes:
    return pb((6, number))


def of_text(text: str) -> bytes:
    return pb((2, text))


def of_shape(*sizes: int) -> bytes:
    return pb((7, shape(*sizes)))


def calls(function: str) -> bytes:
    return pb((10, pb((1, function))))


def node(name: str, op: str, *inputs: str, **attrs: bytes) -> bytes:
    return pb((1, name), (2, op), *[(3, source) for source in inputs], *[(5, entry(k, v)) for k, v in attrs.items()])


def placeholder(name: str, *sizes: int, op: str = "Placeholder") -> bytes:
    return node(name, op, dtype=of_type(FLOAT), shape=of_shape(*sizes))


def constant(name: str, *sizes: int) -> bytes:
    count = 1
    for size in sizes:
        count *= size
    tensor = pb((1, FLOAT), (2, shape(*sizes)), (4, bytes(4 * count)))
    return node(name, "Const", dtype=of_type(FLOAT), value=pb((8, tensor)))


def repeated(name: str, *sizes: int) -> bytes:
    """One number, which TensorFlow repeats over the whole shape."""
    tensor = pb((1, FLOAT), (2, shape(*sizes)), (5, struct.pack("<f", 1.0)))
    return node(name, "Const", dtype=of_type(FLOAT), value=pb((8, tensor)))


def function(name: str, *nodes: bytes, **attrs: bytes) -> bytes:
    return pb((1, pb((1, name))), *[(3, one) for one in nodes], *[(5, entry(k, v)) for k, v in attrs.items()])


def graph_def(nodes: Sequence[bytes], functions: Sequence[bytes] = ()) -> bytes:
    library = pb(*[(1, one) for one in functions])
    return pb(*[(1, one) for one in nodes], (2, library), (4, pb((1, 2000))))


CLASSIFIER = (
    placeholder("image", -1, 4),
    constant("weights", 4, 3),
    node("product", "MatMul", "image", "weights", T=of_type(FLOAT)),
    node("answer", "Softmax", "product", T=of_type(FLOAT)),
)


def tensor_info(tensor: str, *sizes: int, dtype: int = FLOAT) -> bytes:
    return pb((1, tensor), (2, dtype), (3, shape(*sizes)))


def signature(inputs: Mapping[str, bytes], outputs: Mapping[str, bytes]) -> bytes:
    return pb(*[(1, entry(k, v)) for k, v in inputs.items()], *[(2, entry(k, v)) for k, v in outputs.items()])


IMAGE_TO_ANSWER = signature({"image": tensor_info("image:0", -1, 4)}, {"answer": tensor_info("answer:0", -1, 3)})


def saved_graph(
    nodes: Sequence[bytes] = CLASSIFIER,
    functions: Sequence[bytes] = (),
    *,
    signatures: Mapping[str, bytes] | None = None,
    tags: Sequence[str] = ("serve",),
    restore: str = "",
    objects: bytes = b"",
    again: bytes = b"",
) -> bytes:
    """The content of saved_model.pb; `again` are fields that come once more at the end of its graph."""
    if signatures is None:
        signatures = {"serving_default": IMAGE_TO_ANSWER}
    about = pb(*[(4, tag) for tag in tags], (5, "2.21.0"))
    meta = pb(
        (1, about),
        (2, graph_def(nodes, functions)),
        *([(3, pb((3, restore)))] if restore else []),
        *[(5, entry(key, value)) for key, value in signatures.items()],
        *([(7, objects)] if objects else []),
    )
    return pb((1, 1), (2, meta + again))


def saved_model_zip(path: Path, graph: bytes, *, top: str = "", files: Sequence[str] = VARIABLES) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}saved_model.pb", graph)
        for name in files:
            archive.writestr(f"{top}{name}", b"weights")
    return path
