"""In a frozen graph the inputs and outputs are found; where several may be meant, that is said."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from inference.formats import FileFacts, FileRejected, inspect_file
from inference.formats.frozen_graph import Candidates, find_ends, inspect_frozen_graph
from inference.options import LONGEST_NAME, MOST_ENDS, GraphEnds, parse_options
from tests.graph_files import (
    CLASSIFIER,
    FLOAT,
    constant,
    graph_def,
    node,
    of_type,
    placeholder,
    repeated,
)
from tests.wire_bytes import pb


def written(folder: Path, nodes: Sequence[bytes]) -> Path:
    path = folder / "graph.pb"
    path.write_bytes(graph_def(nodes))
    return path


def refusal(folder: Path, *nodes: bytes) -> str:
    with pytest.raises(FileRejected) as caught:
        inspect_file(written(folder, nodes))
    return caught.value.message


def candidates(path: Path, *, is_refused: bool = False, **chosen: Sequence[str]) -> GraphEnds:
    """What is told of the file, whether it is refused or not."""
    told: list[GraphEnds] = []
    with pytest.raises(FileRejected) if is_refused else nullcontext():
        inspect_frozen_graph(path, on_candidates=told.append, **chosen)
    (ends,) = told
    return ends


def test_one_input_and_one_output_are_found_without_asking(tmp_path: Path) -> None:
    path = written(tmp_path, CLASSIFIER)

    assert inspect_file(path) == FileFacts("frozen_graph")
    assert find_ends(path) == Candidates(("image:0",), ("answer:0",))


def test_leftovers_of_training_are_no_outputs(tmp_path: Path) -> None:
    leftovers = [
        node("init", "NoOp", "^answer"),
        constant("step"),
        node("step/read", "Identity", "step"),
        node("check", "Assert", "image"),
        placeholder("unused", -1),
    ]

    assert find_ends(written(tmp_path, [*CLASSIFIER, *leftovers])) == Candidates(("image:0",), ("answer:0",))


def test_what_loops_and_branches_leave_behind_is_no_output(tmp_path: Path) -> None:
    leftovers = [
        placeholder("is_training"),
        node("cond/Switch", "Switch", "is_training", "is_training"),
        node("cond/switch_t", "Identity", "cond/Switch:1"),
        node("cond/pred", "Identity", "is_training"),
        node("cond/mul/Switch", "Switch", "image", "cond/pred"),
        node("cond/Merge", "Merge", "cond/mul/Switch", "cond/mul/Switch:1"),
        node("counted", "Enter", "image"),
        node("while/Switch", "Switch", "counted", "cond/pred"),
        node("while/Exit", "Exit", "while/Switch"),
        node("while/next", "NextIteration", "while/Switch:1"),
        node("while/go", "LoopCond", "cond/pred"),
    ]

    assert find_ends(written(tmp_path, [*CLASSIFIER, *leftovers])) == Candidates(("image:0",), ("answer:0",))


def test_a_loop_that_nothing_follows_is_the_output(tmp_path: Path) -> None:
    loop = [placeholder("image", -1, 4), node("counted", "Enter", "image"), node("while/Exit", "Exit", "counted")]

    assert find_ends(written(tmp_path, loop)) == Candidates(("image:0",), ("while/Exit:0",))


def test_several_outputs_are_all_taken_and_said(tmp_path: Path) -> None:
    path = written(tmp_path, [*CLASSIFIER, node("features", "Relu", "product", T=of_type(FLOAT))])

    assert find_ends(path) == Candidates(("image:0",), ("answer:0", "features:0"))
    assert inspect_file(path).notes == (
        "The graph does not say which outputs are meant; all were taken: 'answer', 'features'. "
        "Name others in the option graph_outputs.",
    )
    assert candidates(path) == {"graph_inputs": ("image",), "graph_outputs": ("answer", "features")}


def test_somebody_can_choose(tmp_path: Path) -> None:
    path = written(tmp_path, [*CLASSIFIER, node("features", "WriteFile", "product")])
    found = candidates(path, is_refused=True)

    assert found == {"graph_inputs": ("image",), "graph_outputs": ("answer", "features")}
    assert candidates(path, inputs=["image"], outputs=["product"]) == found
    assert inspect_file(path, inputs=["image"], outputs=["product"]).notes == ()
    assert find_ends(path, ["image"], ["product"]) == Candidates(("image:0",), ("product:0",))


def test_a_choice_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for choice in ("nothing", "answer:x"):
        with pytest.raises(FileRejected, match=rf"^The graph has no output called '{choice}'\..* it has 'answer'\.$"):
            inspect_file(written(tmp_path, CLASSIFIER), outputs=[choice])
        found = candidates(tmp_path / "graph.pb", is_refused=True, outputs=[choice])
        assert found == {"graph_inputs": ("image",), "graph_outputs": ("answer",)}


def test_an_input_that_the_outputs_need_besides_is_named(tmp_path: Path) -> None:
    nodes = [*CLASSIFIER, placeholder("weight", -1, 3), node("sum", "AddV2", "answer", "weight", T=of_type(FLOAT))]

    with pytest.raises(FileRejected, match=r"^The outputs also need the inputs 'weight'\."):
        inspect_file(written(tmp_path, nodes), inputs=["image"], outputs=["sum"])
    assert candidates(tmp_path / "graph.pb", is_refused=True, inputs=["image"], outputs=["sum"]) == {
        "graph_inputs": ("image", "weight"),
        "graph_outputs": ("sum",),
    }


def test_the_inputs_of_an_output_that_nobody_would_have_proposed_are_found(tmp_path: Path) -> None:
    nodes = [*CLASSIFIER, placeholder("weight", -1, 3), node("sum", "AddV2", "product", "weight", T=of_type(FLOAT))]
    path = written(tmp_path, [*nodes, node("watched", "Print", "sum")])

    assert find_ends(path) == Candidates(("image:0",), ("answer:0",))
    assert find_ends(path, outputs=["sum"]) == Candidates(("image:0", "weight:0"), ("sum:0",))
    assert candidates(path, outputs=["sum"])["graph_inputs"] == ("image", "weight")


def test_only_what_the_options_can_name_is_proposed(tmp_path: Path) -> None:
    heads = [node(f"head{i}", "Relu", "product", T=of_type(FLOAT)) for i in range(100)]
    long = node("x" * (LONGEST_NAME + 1), "Relu", "product", T=of_type(FLOAT))

    proposed = candidates(written(tmp_path, [*CLASSIFIER, long, *heads]))

    assert len(proposed["graph_outputs"]) == MOST_ENDS and proposed["graph_outputs"][:2] == ("answer", "head0")
    assert parse_options(proposed).graph_ends == proposed


def test_what_stands_before_a_chosen_input_is_not_run_and_not_checked(tmp_path: Path) -> None:
    nodes = [placeholder("file", 1), node("picture", "ReadFile", "file"), constant("weights", 4, 3)]
    tail = [node("answer", "MatMul", "picture", "weights", T=of_type(FLOAT))]
    path = written(tmp_path, [*nodes, *tail])

    facts = inspect_file(path, inputs=["picture"], outputs=["answer"])

    assert facts.notes == ()
    with pytest.raises(FileRejected, match="reads or writes files"):
        inspect_file(path)


def test_an_unknown_shape_is_left_to_the_engine(tmp_path: Path) -> None:
    path = written(tmp_path, [*CLASSIFIER[:3], node("answer", "Mean", "product")])

    assert inspect_file(path).format == "frozen_graph"


def test_an_input_whose_shape_is_damaged_is_refused(tmp_path: Path) -> None:
    image = node("image", "Placeholder", dtype=of_type(FLOAT), shape=pb((7, b"\xff")))

    assert refusal(tmp_path, image, *CLASSIFIER[1:]).startswith("The file is damaged or was cut off.")


def with_weights(*sizes: int) -> list[bytes]:
    product = node("answer", "MatMul", "image", "weights", T=of_type(FLOAT))
    return [placeholder("image", -1, sizes[0]), repeated("weights", *sizes), product]


def test_a_constant_of_128_gigabytes_in_a_few_bytes_is_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, *with_weights(64, 500_000_000))

    assert sentence.startswith("The constant 'weights' brings the declared size of the graph to 128.0 GB, but the file")


def test_many_constants_that_are_large_together_are_refused(tmp_path: Path) -> None:
    nodes = [placeholder("x", 2**20), *[repeated(f"c{i}", 2**20) for i in range(20)]]
    tail = node("y", "AddN", "x", *[f"c{i}" for i in range(20)], T=of_type(FLOAT))

    assert "brings the declared size of the graph to" in refusal(tmp_path, *nodes, tail)


def test_a_constant_of_some_megabytes_that_repeats_one_number_is_accepted(tmp_path: Path) -> None:
    assert inspect_file(written(tmp_path, with_weights(4, 2**22))).format == "frozen_graph"


def test_a_large_constant_that_nothing_needs_is_no_matter(tmp_path: Path) -> None:
    assert inspect_file(written(tmp_path, [*CLASSIFIER, repeated("left", 64, 500_000_000)])).format == "frozen_graph"


def test_a_graph_with_variables_is_not_frozen(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, placeholder("x", 1), node("w", "VariableV2"), node("y", "Mul", "x", "w"))

    assert sentence.startswith("The graph is not frozen: its weights are variables")


def test_a_graph_without_placeholder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, constant("x", 2), node("y", "Relu", "x")).startswith("The graph has no input")


def test_a_graph_without_output_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, placeholder("x", 2), constant("y", 2)).startswith("The graph has no output")


def test_operations_that_do_more_than_calculate_are_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, placeholder("x", 2), node("y", "ReadFile", "x"))

    assert sentence.startswith("The operation 'ReadFile' (at 'y') reads or writes files.")


@pytest.mark.parametrize("nodes", [(CLASSIFIER[0], node("y", "Add", "image", "lost")), (*CLASSIFIER, CLASSIFIER[0])])
def test_missing_and_double_nodes_are_damage(tmp_path: Path, nodes: Sequence[bytes]) -> None:
    assert refusal(tmp_path, *nodes).startswith("The file is damaged or was cut off.")


def test_a_graph_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = graph_def(CLASSIFIER)
    path = tmp_path / "graph.pb"

    for cut in range(60, len(whole) - 12, 23):
        path.write_bytes(whole[:cut])
        with pytest.raises(FileRejected):
            inspect_file(path)
