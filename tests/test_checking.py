"""A file is checked: what is said of it afterwards can be stored, sent to everybody, and served."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import psutil
import pytest

from inference.checking import Checked, check_file
from inference.json_object import is_text
from inference.refusal import FileRejected
from inference.workspace import Workspace
from tests.graph_files import saved_graph, saved_model_zip
from tests.model_files import keras_zip, weights_bytes
from tests.small_portal import disk_to_fill
from tests.test_formats_onnx import graph, node, onnx_file, value
from tests.test_formats_openvino import PIXELS, RESULT, WEIGHTS, layer, net, port
from tests.wire_bytes import pb

RELU = graph([node("Relu")], [value("x", "batch", 3)], [value("y", "batch", 3)])
OPENVINO = net(
    PIXELS,
    layer(2, "ReLU", f"<input>{port(0, -1, 4)}</input><output>{port(1, -1, 4)}</output>"),
    RESULT.replace("<dim>3</dim>", "<dim>4</dim>"),
    after='<edges><edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>'
    '<edge from-layer="2" from-port="1" to-layer="3" to-port="0"/></edges>',
)


def checked(folder: Path, path: Path) -> Checked:
    return check_file(
        path,
        workspace=Workspace(folder / "work"),
        is_trusted=False,
        sandbox="auto",
        progress=lambda percent, detail: None,
    )


def with_labels(folder: Path, text: str) -> Path:
    return onnx_file(folder, RELU, (14, pb((1, "classes"), (2, text))))


def test_labels_inside_a_file_are_taken(tmp_path: Path) -> None:
    found = checked(tmp_path, with_labels(tmp_path, '["cat", "dog", "frog"]'))

    assert (found.labels, found.notes) == (("cat", "dog", "frog"), ())


@pytest.mark.parametrize("labels", [r'["\ud800"]', r'["cat\u0000"]', '["' + "x" * 2000 + '"]'])
def test_labels_that_nobody_could_send_are_left_out_with_a_note(tmp_path: Path, labels: str) -> None:
    found = checked(tmp_path, with_labels(tmp_path, labels))

    assert found.labels == ()
    assert [note.split(". ")[0] for note in found.notes] == ["The labels inside the file were left out"]
    assert all(is_text(note) for note in found.notes)


@pytest.mark.parametrize("killed", [1, 2])
def test_a_check_whose_process_is_killed_from_outside_is_tried_once_more(tmp_path: Path, killed: int) -> None:
    """As the kernel does where memory is short: the file is not to blame."""
    stages: list[str] = []
    others = set(psutil.Process().children())

    def kill(percent: int, detail: str) -> None:
        stages.append(detail)
        if stages.count(detail) <= killed and percent == 10:
            (child,) = set(psutil.Process().children()) - others
            child.kill()

    def check() -> Checked:
        workspace = Workspace(tmp_path / "work")
        return check_file(
            onnx_file(tmp_path, RELU), workspace=workspace, is_trusted=False, sandbox="auto", progress=kill
        )

    if killed == 1:
        assert check().format == "onnx"
    else:
        with pytest.raises(FileRejected, match="The check ended early"):
            check()
    assert not set(psutil.Process().children()) - others and not (tmp_path / "work").exists()


def test_texts_go_in_and_come_out(tmp_path: Path) -> None:
    inside = graph([node("Identity")], [value("x", "batch", 3, dtype=8)], [value("y", "batch", 3, dtype=8)])

    found = checked(tmp_path, onnx_file(tmp_path, inside))

    assert [(spec.name, spec.dtype) for spec in found.signature.inputs] == [("x", "string")]


def test_numbers_that_cannot_be_sent_are_refused_with_a_sentence(tmp_path: Path) -> None:
    inside = graph([node("Identity")], [value("x", "batch", dtype=16)], [value("y", "batch", dtype=16)])

    with pytest.raises(FileRejected, match=r"bfloat16.*which cannot be sent here\."):
        checked(tmp_path, onnx_file(tmp_path, inside))


def test_an_operation_that_does_not_take_its_numbers_is_named(tmp_path: Path) -> None:
    inside = graph([node("Softmax")], [value("x", "batch", 3, dtype=16)], [value("y", "batch", 3, dtype=16)])

    with pytest.raises(FileRejected, match=r"^ONNX Runtime has no ReduceMax for .*Export the model in float32\.$"):
        checked(tmp_path, onnx_file(tmp_path, inside))


def test_a_saved_model_without_variables_needs_no_folder_of_them(tmp_path: Path) -> None:
    found = checked(tmp_path, saved_model_zip(tmp_path / "upload", saved_graph(), files=[]))

    assert [(spec.name, spec.shape) for spec in found.signature.outputs] == [("answer", (None, 3))]


@pytest.mark.parametrize("packing", ["zip", "tar"])
@pytest.mark.parametrize(
    ("folder", "beside"),
    [("", "__MACOSX/._net.xml"), ("", "mapping.xml"), ("./", "notes.txt"), ("net.xml/", "notes.txt")],
)
def test_the_engine_opens_the_openvino_model_that_was_looked_at(
    tmp_path: Path, packing: str, folder: str, beside: str
) -> None:
    entries = {f"{folder}net.xml": OPENVINO.encode(), f"{folder}net.bin": WEIGHTS, beside: b"else"}

    assert checked(tmp_path, packed_as(packing, tmp_path / "upload", entries)).format == "openvino"


def test_what_follows_a_tar_is_not_opened_instead_of_it(tmp_path: Path) -> None:
    """zipfile finds an archive wherever its table of contents stands."""
    path = packed_as("tar", tmp_path / "upload", {"net.xml": OPENVINO.encode(), "net.bin": WEIGHTS})
    other = packed_as(
        "zip", tmp_path / "other", {"net.xml": OPENVINO.replace("pixels", "hidden").encode(), "net.bin": WEIGHTS}
    )
    path.write_bytes(path.read_bytes() + other.read_bytes())

    found = checked(tmp_path, path)

    assert [spec.name for spec in found.signature.inputs] == ["pixels"]


def test_the_folder_of_an_onnx_model_may_be_named_as_a_model(tmp_path: Path) -> None:
    model = onnx_file(tmp_path, RELU).read_bytes()

    found = checked(tmp_path, packed_as("zip", tmp_path / "upload", {"net.onnx/net.onnx": model}))

    assert found.format == "onnx"


def packed_as(packing: str, path: Path, entries: dict[str, bytes]) -> Path:
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as tar:
            for name, content in entries.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def test_a_disk_that_is_full_when_an_archive_is_unpacked_is_said_to_be(tmp_path: Path) -> None:
    path = saved_model_zip(tmp_path / "upload", saved_graph())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/large", bytes(40 * 2**20))

    with (
        disk_to_fill(tmp_path / "disk", mib=16) as folder,
        pytest.raises(FileRejected, match=r"^The disk is full, so the model could not be unpacked\."),
    ):
        checked(folder, path)


@pytest.mark.parametrize("form", ["keras", "onnx"])
def test_a_full_disk_is_said_also_where_the_file_is_not_yet_opened(tmp_path: Path, form: str) -> None:
    """What is packed has to be unpacked to be read. The file is not to blame."""
    path, zeros = tmp_path / "packed.zip", bytes(40 * 2**20)
    if form == "keras":
        keras_zip(path, weights=weights_bytes() + zeros, compression=zipfile.ZIP_DEFLATED)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.onnx", onnx_file(tmp_path, RELU).read_bytes() + zeros)

    with disk_to_fill(tmp_path / "disk", mib=16) as folder, pytest.raises(FileRejected, match=r"^The disk is full"):
        checked(folder, path)
