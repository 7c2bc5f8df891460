"""A SavedModel is accepted whole, with plain calculations only; what it can run is found without running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from inference.formats import FileFacts, FileRejected, inspect_file
from tests.graph_files import (
    CLASSIFIER,
    FLOAT,
    IMAGE_TO_ANSWER,
    calls,
    function,
    node,
    of_text,
    of_type,
    placeholder,
    repeated,
    saved_graph,
    saved_model_zip,
    signature,
    tensor_info,
)
from tests.wire_bytes import entry, pb

WITH_VARIABLE = (
    placeholder("image", -1, 4),
    node("weights", "VarHandleOp"),
    node("read", "ReadVariableOp", "weights"),
    node("product", "MatMul", "image", "read"),
    node("answer", "Softmax", "product"),
)


def inspected(folder: Path, graph: bytes, **how: object) -> object:
    return inspect_file(saved_model_zip(folder / "upload", graph, **how))  # type: ignore[arg-type]


def refusal(folder: Path, graph: bytes, **how: object) -> str:
    with pytest.raises(FileRejected) as caught:
        inspected(folder, graph, **how)
    return caught.value.message


def through(*nodes: bytes, functions: Sequence[bytes] = ()) -> bytes:
    """A graph whose answer is the last of these nodes' output, called `answer`."""
    return saved_graph([placeholder("image", -1, 4), *nodes], functions)


@pytest.mark.parametrize("top", ["", "flowers/", "models/flowers/1/"])
def test_a_folder_is_accepted_wherever_it_lies_in_the_archive(tmp_path: Path, top: str) -> None:
    facts = inspect_file(saved_model_zip(tmp_path / "upload", saved_graph(WITH_VARIABLE), top=top))

    assert facts == FileFacts("saved_model")


def test_labels_beside_the_graph_are_found(tmp_path: Path) -> None:
    path = saved_model_zip(tmp_path / "upload", saved_graph(), top="x/", files=["assets/words.txt", "labels.txt"])

    assert inspect_file(path).labels == ("weights",)


def test_the_graph_alone_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved_graph(WITH_VARIABLE))

    with pytest.raises(FileRejected, match=r"^saved_model\.pb alone holds the graph but no weights"):
        inspect_file(path)


def test_the_graph_alone_is_a_model_if_its_weights_are_constants(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved_graph())

    assert inspect_file(path).format == "saved_model"


def test_an_archive_without_the_weights_is_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, saved_graph(WITH_VARIABLE), files=["assets/words.txt"])

    assert sentence.startswith("The archive holds saved_model.pb but not its weights in the folder variables.")


def test_weights_of_which_a_part_is_missing_are_refused(tmp_path: Path) -> None:
    files = ["variables/variables.index", "variables/variables.data-00000-of-00002"]

    assert refusal(tmp_path, saved_graph(WITH_VARIABLE), files=files).startswith("Of the weights")


def test_the_text_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pbtxt"
    path.write_text("saved_model_schema_version: 1\nmeta_graphs {\n}\n")
    with pytest.raises(FileRejected, match=r"^The SavedModel is in the text form"):
        inspect_file(path)

    assert refusal(tmp_path, saved_graph(), files=["saved_model.pbtxt"]).startswith(
        "The SavedModel is in the text form"
    )


def test_two_models_in_one_archive_are_refused(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, saved_graph(), files=["other/saved_model.pb"])

    assert sentence.startswith("The archive holds several SavedModels, in 'the top', 'other'.")


def test_the_only_signature_is_taken_whatever_its_name(tmp_path: Path) -> None:
    graph = saved_graph(signatures={"serve": IMAGE_TO_ANSWER, "__saved_model_init_op": signature({}, {})})

    assert inspected(tmp_path, graph)


def test_several_signatures_are_named(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, saved_graph(signatures={"embed": IMAGE_TO_ANSWER, "classify": IMAGE_TO_ANSWER}))

    assert sentence.startswith("The SavedModel has several signatures, 'embed', 'classify', and none is called")


def test_a_model_without_signature_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, saved_graph(signatures={})).startswith("The SavedModel names no inputs and outputs")


def test_a_model_for_training_only_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, saved_graph(tags=["train"])).startswith("The SavedModel has no graph tagged 'serve'")


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("WriteFile", "reads or writes files."),
        ("ReadFile", "reads or writes files."),
        ("SaveV2", "reads or writes files."),
        ("RestoreV2", "reads or writes files."),
        ("PyFunc", "calls Python code, which is not in the file."),
        ("EagerPyFunc", "calls Python code, which is not in the file."),
        ("InitializeTableFromTextFileV2", "reads its vocabulary from a file of its own."),
        ("RpcCall", "calls other machines."),
        ("MyOwnOperation", "is not one of the plain calculations that are allowed here."),
    ],
)
def test_operations_that_do_more_than_calculate_are_refused(tmp_path: Path, op: str, reason: str) -> None:
    sentence = refusal(tmp_path, through(node("answer", op, "image")))

    assert sentence.startswith(f"The operation '{op}' (at 'answer') {reason}")


def test_printing_is_allowed_unless_it_goes_to_a_file(tmp_path: Path) -> None:
    def printing(stream: str) -> bytes:
        return through(
            node("say", "PrintV2", "image", output_stream=of_text(stream)), node("answer", "Identity", "image", "^say")
        )

    assert inspected(tmp_path, printing("stderr"))
    assert refusal(tmp_path, printing("file:///tmp/x")).startswith(
        "The operation 'PrintV2' (at 'say') prints to a file."
    )


def test_an_operation_behind_an_order_without_data_counts(tmp_path: Path) -> None:
    graph = through(node("write", "WriteFile"), node("answer", "Identity", "image", "^write"))

    assert "'WriteFile' (at 'write')" in refusal(tmp_path, graph)


def test_what_the_answer_does_not_need_is_not_looked_at(tmp_path: Path) -> None:
    graph = through(node("save", "SaveV2"), node("answer", "Identity", "image"))

    assert inspected(tmp_path, graph)


def test_functions_are_followed_through_functions(tmp_path: Path) -> None:
    inner = function("inner", node("write", "WriteFile"))
    outer = function("outer", node("if", "If", then_branch=calls("good"), else_branch=calls("inner")))
    graph = through(
        node("answer", "StatefulPartitionedCall", "image", f=calls("outer")),
        functions=[outer, inner, function("good", node("same", "Identity"))],
    )

    assert "'WriteFile' (at 'write')" in refusal(tmp_path, graph)


def test_a_function_called_by_its_own_name_is_followed(tmp_path: Path) -> None:
    graph = through(node("answer", "mine", "image"), functions=[function("mine", node("write", "WriteFile"))])

    assert "'WriteFile'" in refusal(tmp_path, graph)


def test_a_function_that_may_stand_in_for_another_is_followed(tmp_path: Path) -> None:
    slow = function("slow", node("same", "Identity"), api_implements=of_text("lstm"))
    fast = function("fast", node("write", "WriteFile"), api_implements=of_text("lstm"))
    graph = through(node("answer", "PartitionedCall", "image", f=calls("slow")), functions=[slow, fast])

    assert "'WriteFile'" in refusal(tmp_path, graph)


def test_the_backward_half_of_a_layer_that_keeps_it_is_no_reason_to_refuse_the_file(tmp_path: Path) -> None:
    """As Keras 2 saves LSTM and GRU: the functions of a pair have the same attribute."""
    forward = function("forward", node("same", "Identity"), api_implements=of_text("lstm"))
    gradients = [node(name, name) for name in ("StridedSliceGrad", "BiasAddGrad", "TanhGrad", "CudnnRNNBackpropV3")]
    backward = function("backward", *gradients, api_implements=of_text("lstm"))
    graph = through(node("answer", "PartitionedCall", "image", f=calls("forward")), functions=[forward, backward])

    assert inspected(tmp_path, graph)


def test_functions_that_call_each_other_for_ever_end(tmp_path: Path) -> None:
    graph = through(
        node("answer", "PartitionedCall", "image", f=calls("a")),
        functions=[function("a", node("x", "PartitionedCall", f=calls("b"))), function("b", node("y", "a"))],
    )

    assert inspected(tmp_path, graph)


def test_the_operation_that_initialises_counts(tmp_path: Path) -> None:
    signatures = {
        "serving_default": IMAGE_TO_ANSWER,
        "__saved_model_init_op": signature({}, {"__saved_model_init_op": tensor_info("write")}),
    }
    graph = saved_graph([*CLASSIFIER, node("write", "WriteFile")], signatures=signatures)

    assert "'WriteFile' (at 'write')" in refusal(tmp_path, graph)


def test_putting_the_weights_back_may_read_them_and_no_more(tmp_path: Path) -> None:
    def restoring(op: str) -> bytes:
        saver = function("saver", node("op", op))
        return saved_graph(
            [*CLASSIFIER, node("restore", "PartitionedCall", f=calls("saver"))], [saver], restore="restore"
        )

    assert inspected(tmp_path, restoring("RestoreV2"))
    assert "'WriteFile'" in refusal(tmp_path, restoring("WriteFile"))


@pytest.mark.parametrize("verb", ["_initialize", "_create_resource", "_destroy_resource"])
def test_what_a_resource_runs_by_itself_counts(tmp_path: Path, verb: str) -> None:
    resource = pb((1, pb((1, 1), (2, verb))), (10, b""))
    target = pb((6, pb((1, "init"))))
    graph = saved_graph(
        CLASSIFIER, [function("init", node("write", "WriteFile"))], objects=pb((1, resource), (1, target))
    )

    assert "'WriteFile' (at 'write')" in refusal(tmp_path, graph)


def test_the_signature_among_the_objects_counts(tmp_path: Path) -> None:
    root = pb((1, pb((1, 1), (2, "signatures"))), (4, b""))
    signatures = pb((1, pb((1, 2), (2, "serving_default"))), (4, b""))
    bare = pb((8, pb((1, "other"))))
    objects = pb((1, root), (1, signatures), (1, bare))
    graph = saved_graph(CLASSIFIER, [function("other", node("read", "ReadFile"))], objects=objects)

    assert "'ReadFile' (at 'read')" in refusal(tmp_path, graph)


def test_of_several_graphs_the_one_is_looked_at_that_is_loaded(tmp_path: Path) -> None:
    """TensorFlow takes a lone graph whatever its tags, and of several the first that is tagged 'serve' alone."""
    good, bad = saved_graph(tags=["serve", "tpu"]), through(node("answer", "ReadFile", "image"))

    assert inspected(tmp_path, good)
    assert "'ReadFile'" in refusal(tmp_path, good + bad)
    assert inspected(tmp_path, saved_graph() + bad)
    assert refusal(tmp_path, good + good).startswith("The SavedModel has no graph tagged 'serve'")


@pytest.mark.parametrize("part", [2, 7], ids=["graph", "objects"])
def test_a_second_part_which_readers_would_merge_with_the_first_is_refused(tmp_path: Path, part: int) -> None:
    resource = pb((1, pb((1, 1), (2, "_initialize"))), (10, b""))
    target = pb((6, pb((1, "init"))))
    hidden = [function("init", node("write", "WriteFile"))]
    graph = saved_graph(CLASSIFIER, hidden, objects=pb((1, resource), (1, target)), again=pb((part, b"")))

    assert refusal(tmp_path, graph).startswith("The file is damaged or was cut off.")


def test_a_trusted_file_is_not_walked(tmp_path: Path) -> None:
    path = saved_model_zip(tmp_path / "upload", through(node("answer", "ReadFile", "image")))

    assert inspect_file(path, is_trusted=True).format == "saved_model"


def test_ragged_inputs_are_refused(tmp_path: Path) -> None:
    ragged = pb((5, b""), (2, FLOAT))
    graph = saved_graph(
        signatures={"serving_default": signature({"words": ragged}, {"answer": tensor_info("answer:0")})}
    )

    assert refusal(tmp_path, graph).startswith("The tensor 'words' of the signature is sparse or ragged")


def test_inputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    resource = signature({"table": tensor_info("image:0", dtype=20)}, {"answer": tensor_info("answer:0")})

    assert refusal(tmp_path, saved_graph(signatures={"serve": resource})).startswith(
        "The tensor 'table' of the signature holds no numbers or text."
    )


def test_a_signature_without_an_input_is_refused(tmp_path: Path) -> None:
    no_input = signature({}, {"answer": tensor_info("answer:0")})

    assert refusal(tmp_path, saved_graph(signatures={"serve": no_input})).startswith(
        "The signature of the SavedModel has no input or no output."
    )


def test_an_open_rank_is_left_to_the_engine(tmp_path: Path) -> None:
    open_rank = signature(
        {"image": pb((1, "image:0"), (2, FLOAT), (3, pb((3, 1))))}, {"answer": tensor_info("answer:0")}
    )

    assert inspected(tmp_path, saved_graph(signatures={"serve": open_rank}))


def test_a_signature_that_names_a_missing_node_is_damage(tmp_path: Path) -> None:
    assert refusal(tmp_path, saved_graph(CLASSIFIER[:3])).startswith("The file is damaged or was cut off.")


def test_a_graph_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    whole = saved_graph()

    for cut in range(20, len(whole), 37):
        refusal(tmp_path, whole[:cut])


def test_attributes_nested_without_end_are_refused(tmp_path: Path) -> None:
    deep = calls("x")
    for _ in range(2000):
        deep = pb((10, pb((1, "x"), (2, entry("a", deep)))))

    assert "nested deeper" in refusal(tmp_path, through(node("answer", "Identity", "image", a=deep, T=of_type(FLOAT))))


@pytest.mark.parametrize("where", ["the graph", "a function"])
def test_a_constant_much_larger_than_the_file_is_refused(tmp_path: Path, where: str) -> None:
    large = repeated("weights", 64, 500_000_000)
    if where == "the graph":
        graph = through(large, node("answer", "MatMul", "image", "weights"))
    else:
        graph = through(
            node("answer", "PartitionedCall", "image", f=calls("work")), functions=[function("work", large)]
        )

    assert refusal(tmp_path, graph).startswith(
        "The constant 'weights' brings the declared size of the graph to 128.0 GB"
    )
