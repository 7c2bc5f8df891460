"""An ONNX file is accepted with ONNX's own operations only, and with its weights inside or beside it in its archive."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from inference.formats import FileFacts, inspect_file
from inference.formats.protobuf import DAMAGED, TOO_MANY
from tests.model_files import refusal
from tests.real_models import ORIENTATION_LABELS, orientation_onnx
from tests.wire_bytes import pb

FLOAT = 1


def value(name: str, *sizes: int | str, dtype: int = FLOAT) -> bytes:
    dims = [(1, pb((1, size)) if isinstance(size, int) else pb((2, size))) for size in sizes]
    return pb((1, name), (2, pb((1, pb((1, dtype), (2, pb(*dims)))))))


def node(op: str, *, domain: str = "", attributes: Sequence[bytes] = ()) -> bytes:
    return pb((1, "x"), (2, "y"), (4, op), *[(5, one) for one in attributes], *([(7, domain)] if domain else []))


def tensor(name: str, *extra: tuple[int, int | bytes]) -> bytes:
    return pb((1, 2), (2, FLOAT), (8, name), (9, bytes(8)), *extra)


def graph(
    nodes: Sequence[bytes] = (node("Relu"),),
    inputs: Sequence[bytes] = (value("x", "batch", 3),),
    outputs: Sequence[bytes] = (value("y", "batch", 3),),
    weights: Sequence[bytes] = (),
    sparse: Sequence[bytes] = (),
) -> bytes:
    return pb(
        *[(1, one) for one in nodes],
        (2, "small"),
        *[(5, one) for one in weights],
        *[(11, one) for one in inputs],
        *[(12, one) for one in outputs],
        *[(15, one) for one in sparse],
    )


def onnx_file(folder: Path, inside: bytes | None = None, *extra: tuple[int, int | bytes]) -> Path:
    path = folder / "upload"
    opset = pb((1, ""), (2, 17))
    path.write_bytes(pb((1, 8), (2, "pytorch"), (3, "2.4"), (7, inside or graph()), (8, opset), *extra))
    return path


def labels(folder: Path, key: str, text: str) -> tuple[str, ...]:
    return inspect_file(onnx_file(folder, None, (14, pb((1, key), (2, text))))).labels


def test_a_plain_model_is_accepted(tmp_path: Path) -> None:
    assert inspect_file(onnx_file(tmp_path)) == FileFacts("onnx")


def test_the_public_orientation_model_has_its_labels() -> None:
    assert inspect_file(orientation_onnx()).labels == ORIENTATION_LABELS


def test_weights_among_the_inputs_may_be_no_tensors(tmp_path: Path) -> None:
    inside = graph(inputs=[value("x", 1, 3), pb((1, "w"))], weights=[tensor("w")])

    assert inspect_file(onnx_file(tmp_path, inside)).format == "onnx"


@pytest.mark.parametrize("kind", [pb((1, pb((1, FLOAT)))), pb((4, b""))], ids=["unknown rank", "no tensor"])
def test_an_output_of_any_kind_is_left_to_the_engine(tmp_path: Path, kind: bytes) -> None:
    assert inspect_file(onnx_file(tmp_path, graph(outputs=[pb((1, "y"), (2, kind))]))).format == "onnx"


def test_a_model_without_output_is_refused(tmp_path: Path) -> None:
    assert refusal(onnx_file(tmp_path, graph(outputs=[]))).startswith("The ONNX file names no output.")


@pytest.mark.parametrize("key", ["character", "labels", "classes", "names"])
@pytest.mark.parametrize(
    "text", ["cat\ndog\n", '["cat", "dog"]', "{0: 'cat', 1: 'dog'}", '{"1": "dog", "0": "cat"}', "\ufeffcat\r\ndog"]
)
def test_labels_are_read_from_the_metadata(tmp_path: Path, key: str, text: str) -> None:
    assert labels(tmp_path, key, text) == ("cat", "dog")


def test_an_empty_line_is_an_empty_label_as_in_labels_that_are_sent(tmp_path: Path) -> None:
    assert labels(tmp_path, "labels", "cat\n\nice\u2028cream") == ("cat", "", "ice\u2028cream")


@pytest.mark.parametrize("text", ["", "{0: 'cat', 2: 'dog'}", "[[1], [2]]", "{broken", "[" * 100_000])
def test_metadata_that_is_no_list_of_labels_is_passed_over(tmp_path: Path, text: str) -> None:
    assert labels(tmp_path, "labels", text) == ()


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "weights.bin"])
@pytest.mark.parametrize("place", ["weight", "attribute", "inner graph", "sparse weight", "function"])
def test_weights_in_other_files_are_refused(tmp_path: Path, location: str, place: str) -> None:
    outside = tensor("w", (13, pb((1, "location"), (2, location))), (14, 1))
    constant = node("Constant", attributes=[pb((1, "value"), (5, outside), (20, 4))])
    path = {
        "weight": lambda: onnx_file(tmp_path, graph(weights=[outside])),
        "attribute": lambda: onnx_file(tmp_path, graph([constant])),
        "inner graph": lambda: onnx_file(tmp_path, graph([node("If", attributes=[pb((6, graph([constant])))])])),
        "sparse weight": lambda: onnx_file(tmp_path, graph(sparse=[pb((1, outside))])),
        "function": lambda: onnx_file(tmp_path, None, (25, pb((1, "f"), (7, constant), (10, "mine")))),
    }[place]()

    assert refusal(path).startswith("The ONNX file keeps its weights in another file. Put both into one .zip")


def test_a_location_without_a_name_is_refused_too(tmp_path: Path) -> None:
    assert "in another file" in refusal(onnx_file(tmp_path, graph(weights=[tensor("w", (14, 1))])))


def kept_outside(*said: tuple[str, str], dtype: int = FLOAT, rows: int = 2) -> bytes:
    """A weight of `rows` numbers, of which `said` tells where they lie."""
    about = [(13, pb((1, key), (2, text))) for key, text in said]
    return pb((1, rows), (2, dtype), (8, "w"), *about, (14, 1))


def archive(folder: Path, weight: bytes, files: Mapping[str, int], name: str = "model/net.onnx") -> Path:
    """A model with one weight, packed with files of so many bytes."""
    path = onnx_file(folder, graph(weights=[weight])).rename(folder / "net.onnx")
    with zipfile.ZipFile(folder / "upload", "w") as packed:
        packed.write(path, name)
        for other, size in files.items():
            packed.writestr(other, bytes(size))
    return folder / "upload"


@pytest.mark.parametrize(
    ("said", "files"),
    [
        ([("location", "net.onnx.data")], {"model/net.onnx.data": 8}),
        ([("location", "./net.onnx.data")], {"model/net.onnx.data": 8}),
        ([("location", "parts/w"), ("offset", "4"), ("length", "8"), ("checksum", "x")], {"model/parts/w": 12}),
    ],
)
def test_weights_that_lie_beside_the_model_in_its_archive_are_taken(
    tmp_path: Path, said: Sequence[tuple[str, str]], files: Mapping[str, int]
) -> None:
    assert inspect_file(archive(tmp_path, kept_outside(*said), files)) == FileFacts("onnx")


def test_labels_beside_the_model_are_read(tmp_path: Path) -> None:
    path = onnx_file(tmp_path).rename(tmp_path / "net.onnx")
    with zipfile.ZipFile(tmp_path / "upload", "w") as packed:
        packed.write(path, "a/net.onnx")
        packed.writestr("a/labels.txt", "cat\ndog\n")

    assert inspect_file(tmp_path / "upload").labels == ("cat", "dog")


@pytest.mark.parametrize("location", ["../w", "/etc/passwd", "w/../w", "model/w", "net.onnx", "W", "other"])
def test_weights_that_are_kept_elsewhere_are_missed(tmp_path: Path, location: str) -> None:
    path = archive(tmp_path, kept_outside(("location", location)), {"model/w": 8, "w": 8})

    assert refusal(path).startswith(f"The ONNX model keeps weights in '{location}', which does not lie beside it")


@pytest.mark.parametrize(
    ("said", "rows"),
    [([], 3), ([("offset", "1")], 2), ([("length", "9")], 2), ([("offset", "1"), ("length", "1")], 2)],
)
def test_weights_past_the_end_of_their_file_are_refused(
    tmp_path: Path, said: Sequence[tuple[str, str]], rows: int
) -> None:
    path = archive(tmp_path, kept_outside(("location", "w"), *said, rows=rows), {"model/w": 8})

    assert refusal(path).startswith("'w' ends before the weights that the ONNX model keeps in it.")


@pytest.mark.parametrize(
    "weight",
    [
        kept_outside(),
        kept_outside(("location", "")),
        kept_outside(("location", "other"), ("location", "w")),
        kept_outside(("location", "w"), ("offset", "-4")),
        kept_outside(("location", "w"), ("length", "9" * 19)),
        kept_outside(("location", "w"), dtype=8),
        kept_outside(("location", "w"), dtype=0),
        kept_outside(("location", "w"), rows=2**64 - 2),
    ],
    ids=["nothing", "no name", "two names", "offset", "length", "texts", "no type", "rows"],
)
def test_nonsense_about_where_weights_lie_is_refused(tmp_path: Path, weight: bytes) -> None:
    assert refusal(archive(tmp_path, weight, {"model/w": 8})) == DAMAGED


def test_several_models_in_one_archive_are_named(tmp_path: Path) -> None:
    path = archive(tmp_path, tensor("w"), {"model/b.onnx": 8})

    assert refusal(path).startswith("The archive holds several ONNX models: 'model/b.onnx', 'model/net.onnx'.")


def test_foreign_operations_are_refused_with_their_domain(tmp_path: Path) -> None:
    sentence = refusal(onnx_file(tmp_path, graph([node("Magic", domain="my.company")])))

    assert sentence.startswith("The operation 'Magic' belongs to 'my.company', which is not part of ONNX")


def test_foreign_operations_inside_of_loops_are_refused(tmp_path: Path) -> None:
    body = graph([node("Magic", domain="ai.onnx.contrib")])

    assert "'Magic' belongs to 'ai.onnx.contrib'" in refusal(
        onnx_file(tmp_path, graph([node("Loop", attributes=[pb((1, "body"), (6, body))])]))
    )


def test_functions_that_the_file_brings_along_are_accepted(tmp_path: Path) -> None:
    own = pb((1, "Magic"), (7, node("Relu")), (10, "mine"))

    assert inspect_file(onnx_file(tmp_path, graph([node("Magic", domain="mine")]), (25, own))).format == "onnx"


def own_function(name: str, *called: str) -> tuple[int, bytes]:
    return 25, pb((1, name), *[(7, node(other, domain="mine")) for other in called], (10, "mine"))


def test_functions_that_become_too_many_nodes_are_refused(tmp_path: Path) -> None:
    doubling = [own_function(f"f{n}", f"f{n + 1}", f"f{n + 1}") for n in range(39)]
    last = (25, pb((1, "f39"), (7, node("Relu")), (10, "mine")))

    began = time.monotonic()
    sentence = refusal(onnx_file(tmp_path, graph([node("f0", domain="mine")]), *doubling, last))

    assert sentence == TOO_MANY
    assert time.monotonic() - began < 1
    assert inspect_file(onnx_file(tmp_path, graph([node("f25", domain="mine")]), *doubling, last)).format == "onnx"


@pytest.mark.parametrize("called", [("a",), ("b", "a")])
def test_a_function_that_calls_itself_is_named(tmp_path: Path, called: tuple[str, ...]) -> None:
    functions = [own_function("a", called[0]), *([own_function("b", "a")] if "b" in called else [])]

    assert refusal(onnx_file(tmp_path, graph([node("a", domain="mine")]), *functions)).startswith(
        "The function 'a' of the ONNX file calls itself."
    )


def test_two_functions_of_the_same_name_are_refused(tmp_path: Path) -> None:
    functions = [own_function("a"), own_function("a")]

    assert refusal(onnx_file(tmp_path, graph([node("a", domain="mine")]), *functions)) == DAMAGED


def test_the_defaults_of_a_function_are_looked_at(tmp_path: Path) -> None:
    body = graph([node("Magic", domain="ai.onnx.contrib")])
    own = pb((1, "Mine"), (7, node("Relu")), (10, "mine"), (11, pb((1, "body"), (6, body))))

    assert "'Magic' belongs to 'ai.onnx.contrib'" in refusal(onnx_file(tmp_path, None, (25, own)))


def test_a_second_graph_which_readers_would_merge_with_the_first_is_refused(tmp_path: Path) -> None:
    bad = graph([node("EPContext", domain="com.microsoft")])

    assert refusal(onnx_file(tmp_path, bad, (7, graph()))).startswith("The file is damaged or was cut off.")


def test_onnxruntimes_own_calculations_are_accepted_and_no_more(tmp_path: Path) -> None:
    assert inspect_file(onnx_file(tmp_path, graph([node("FusedConv", domain="com.microsoft")]))).format == "onnx"
    assert refusal(onnx_file(tmp_path, graph([node("EPContext", domain="com.microsoft")]))).startswith(
        "The operation 'EPContext' of onnxruntime is not one of the plain calculations"
    )


def test_inputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    words = pb((1, "words"), (2, pb((4, pb((1, b""))))))

    assert refusal(onnx_file(tmp_path, graph(inputs=[words]))).startswith("The input 'words' is no tensor")


def test_inputs_of_no_known_number_of_dimensions_are_refused(tmp_path: Path) -> None:
    shapeless, scalar = pb((1, "x"), (2, pb((1, pb((1, FLOAT)))))), value("x")

    assert "how many dimensions the input 'x' has" in refusal(onnx_file(tmp_path, graph(inputs=[shapeless])))
    assert inspect_file(onnx_file(tmp_path, graph(inputs=[scalar]))).format == "onnx"


def test_a_graph_for_training_is_refused(tmp_path: Path) -> None:
    assert "for training" in refusal(onnx_file(tmp_path, None, (20, pb((1, graph())))))


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    inside = graph()
    for _ in range(500):
        inside = graph([node("If", attributes=[pb((6, inside))])])

    assert "nested deeper" in refusal(onnx_file(tmp_path, inside))


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = orientation_onnx().read_bytes()
    path = tmp_path / "cut"

    for cut in (len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        assert refusal(path)
