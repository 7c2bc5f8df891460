"""What a file is, is told by its content; for each wrong kind there is a sentence of its own."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from inference.formats import FileFacts, inspect_file
from inference.formats.recognise import recognise
from tests.model_files import dense, hdf5_model, keras_zip, refusal, sequential
from tests.picture_files import encoded


def written(folder: Path, content: bytes, name: str = "upload.keras") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_keras_archive_is_accepted(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras")

    assert inspect_file(path) == FileFacts("keras")


def test_an_hdf5_model_is_accepted(tmp_path: Path) -> None:
    path = hdf5_model(tmp_path / "small.h5")

    assert inspect_file(path) == FileFacts("hdf5")


def test_hdf5_content_decides_over_the_name(tmp_path: Path) -> None:
    path = hdf5_model(tmp_path / "small.keras")

    assert inspect_file(path).format == "hdf5"


def test_keras_content_decides_over_the_name(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.h5")

    assert inspect_file(path).format == "keras"


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, b"")).startswith("The file is empty.")


def test_text_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "Größe und Maß\n".encode())).startswith("This is a text file, not a model.")


def test_a_git_lfs_pointer_is_refused(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"

    assert refusal(written(tmp_path, pointer)).startswith("This is a Git LFS pointer")


def test_layers_as_json_are_refused_for_lack_of_weights(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(sequential(dense())).encode())

    assert refusal(path).startswith("The file describes the layers but holds no weights.")


def test_html_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, b"\n<!DOCTYPE html><html><p>Sign in</p></html>")).startswith("This is a web page")


def test_a_pdf_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3")).startswith("This is a PDF document")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_an_image_is_refused(tmp_path: Path, kind: str) -> None:
    picture = encoded(Image.new("RGB", (4, 4)), kind)

    assert refusal(written(tmp_path, picture)).startswith("This is an image, not a model.")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "thing", [{"weights": [1.0]}, [1, 2], (3, 4), np.arange(3)], ids=["dict", "list", "tuple", "array"]
)
def test_a_pickle_is_refused(tmp_path: Path, thing: object, protocol: int) -> None:
    path = written(tmp_path, pickle.dumps(thing, protocol))

    assert refusal(path).startswith("This is a Python pickle")


def test_joblibs_packed_pickles_are_refused(tmp_path: Path) -> None:
    for packed in (zlib.compress(pickle.dumps([1])), gzip.compress(pickle.dumps([1]))):
        assert refusal(written(tmp_path, packed)).startswith("This is a Python pickle")


def test_a_pytorch_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
        archive.writestr("model/data/0", b"\0" * 8)

    assert refusal(path).startswith("This is a PyTorch file")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.docx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")

    assert refusal(path).startswith("The archive holds no model that is known here.")


def test_a_model_inside_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(keras_zip(tmp_path / "small.keras"), "small.keras")

    assert refusal(path).startswith("The model lies inside an archive. Unpack it")


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    whole = keras_zip(tmp_path / "small.keras").read_bytes()

    for cut in (10, len(whole) // 2, len(whole) - 5):
        assert refusal(written(tmp_path, whole[:cut])).startswith("The archive is damaged or was cut off.")


def test_a_truncated_hdf5_file_is_refused(tmp_path: Path) -> None:
    whole = hdf5_model(tmp_path / "small.h5").read_bytes()

    for cut in (9, len(whole) // 2, len(whole) - 5):
        assert refusal(written(tmp_path, whole[:cut])).startswith("The HDF5 file is damaged or was cut off.")


def test_an_hdf5_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros(3)

    assert refusal(path).startswith("This is an HDF5 file, but it holds no Keras model.")


def test_keras_2_weights_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        file["dense/kernel:0"] = np.zeros((2, 2))

    assert refusal(path).startswith("The file holds weights only. Save the whole model")


def test_keras_3_weights_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.zeros((2, 2))

    assert refusal(path).startswith("The file holds weights only. Save the whole model")


def test_a_keras_archive_without_its_layers_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", without=["config.json"])

    assert refusal(path).startswith("The file holds weights only. Save the whole model")


def test_a_keras_archive_packed_with_a_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    packed = keras_zip(tmp_path / "small.keras")
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(tmp_path / "folder.zip", "w") as new:
        for name in old.namelist():
            new.writestr(f"small/{name}", old.read(name))

    assert refusal(tmp_path / "folder.zip") == (
        "The files of the model lie in a folder of the archive. Pack them again without the folder, or upload the "
        ".keras file as it was saved."
    )


def test_a_keras_archive_without_its_weights_is_refused(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "small.keras", without=["model.weights.h5"])

    assert refusal(path).startswith("The archive describes the layers but holds no weights.")


def test_an_hdf5_model_without_its_weights_is_refused(tmp_path: Path) -> None:
    path = hdf5_model(tmp_path / "small.h5", fill=lambda file: file.__delitem__("model_weights"))

    assert refusal(path).startswith("The file describes the layers but holds no weights.")


def test_an_onnx_model_is_named(tmp_path: Path) -> None:
    producer = b"\x12\x07pytorch" + b"\x1a\x032.4"
    path = written(tmp_path, b"\x08\x08" + producer + b"\x3a\x04\x12\x02ab" + b"\x42\x02\x10\x11")

    assert recognise(path) == "onnx"


def test_a_tflite_model_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, struct.pack("<I4s", 28, b"TFL3") + b"\0" * 64)

    assert recognise(path) == "tflite"


def test_a_frozen_graph_is_named(tmp_path: Path) -> None:
    node = b"\x0a\x01x\x12\x0bPlaceholder"
    path = written(tmp_path, b"\x0a" + bytes([len(node)]) + node + b"\x22\x03\x08\xc0\x10")

    assert recognise(path) == "frozen_graph"


def test_a_saved_model_graph_is_named(tmp_path: Path) -> None:
    meta_graph = b"\x0a\x09\x22\x05serve\x28\x01" + b"\x12\x02\x0a\x00"
    path = written(tmp_path, b"\x08\x01\x12" + bytes([len(meta_graph)]) + meta_graph)

    assert recognise(path) == "saved_model"


@pytest.mark.parametrize("top", ["", "flowers/"])
@pytest.mark.parametrize("packing", ["zip", "tar", "tar.gz"])
def test_a_packed_saved_model_is_named(tmp_path: Path, packing: str, top: str) -> None:
    path = tmp_path / f"upload.{packing}"
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{top}saved_model.pb", b"\x08\x01")
    else:
        with tarfile.open(path, "w:gz" if packing == "tar.gz" else "w") as tar:
            member = tarfile.TarInfo(f"{top}saved_model.pb")
            member.size = 2
            tar.addfile(member, io.BytesIO(b"\x08\x01"))

    assert recognise(path) == "saved_model"


def test_a_saved_model_that_windows_packed_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path, "my model\\variables\\variables.index", "my model\\saved_model.pb")

    assert recognise(path) == "saved_model"


@pytest.mark.parametrize("begin", [b"BZh91AY&SY", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\x00"])
def test_an_archive_of_another_kind_hears_how_to_pack_it(tmp_path: Path, begin: bytes) -> None:
    path = written(tmp_path, begin + np.random.default_rng(1).bytes(4096))

    assert refusal(path) == "This is an archive of a kind that is not read here. Pack it as .zip or .tar.gz."


def test_an_openvino_description_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, b'<?xml version="1.0"?>\n<net name="small" version="11"><layers/></net>')

    assert recognise(path) == "openvino"


def packed(folder: Path, *names: str) -> Path:
    path = folder / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else b"x")
    return path


@pytest.mark.parametrize(
    "names",
    [
        ["model.h5"],
        ["config.json", "model.tflite"],
        ["a/", "a/model.tflite", "__MACOSX/a/._model.tflite", "a/.DS_Store"],
    ],
)
def test_a_packed_model_of_one_file_is_refused(tmp_path: Path, names: list[str]) -> None:
    assert refusal(packed(tmp_path, *names)).startswith("The model lies inside an archive. Unpack it")


@pytest.mark.parametrize("beside", ["w.bin", "model.onnx.data", "onnx__MatMul_12", "labels.txt", "._model.onnx"])
def test_an_onnx_model_may_be_packed_with_its_weights(tmp_path: Path, beside: str) -> None:
    assert recognise(packed(tmp_path, "m/model.onnx", f"m/{beside}")) == "onnx"


@pytest.mark.parametrize("beside", ["config.json", "metadata.json"])
@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("openvino", ["openvino_model.xml", "openvino_model.bin"]),
        ("onnx", ["model.onnx", "tokenizer.json"]),
        ("saved_model", ["saved_model.pb"]),
    ],
)
def test_what_exporters_write_beside_a_model_makes_it_no_keras_archive(
    tmp_path: Path, form: str, names: list[str], beside: str
) -> None:
    assert recognise(packed(tmp_path, beside, *names)) == form


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, np.random.default_rng(1).bytes(4096))

    assert refusal(path).startswith("The file is of no kind that is known here.")
