"""The bad files that need no engine to be made: a maker for each, and what its refusal says.

Those that are alive (they do something once an engine opens them) are made by tests/threats/live_files.py.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

from tests import test_formats_onnx as onnx
from tests import test_formats_openvino as openvino
from tests.graph_files import saved_graph, saved_model_zip
from tests.model_files import Json, dense, function, hdf5_model, keras_zip, layer, sequential
from tests.wire_bytes import pb

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Bad:
    """`says`: words that the refusal has. `make` is given an empty folder and returns the file."""

    id: str
    name: str
    says: str
    make: Callable[[Path], Path]


def _keras(*layers: Json) -> Callable[[Path], Path]:
    return lambda folder: keras_zip(folder / "bad.keras", sequential(*layers))


def _hdf5(fill: Callable[[h5py.File], object]) -> Callable[[Path], Path]:
    return lambda folder: hdf5_model(folder / "bad.h5", fill=lambda file: fill(file) and None)


def _raw(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "bad"
        path.write_bytes(content)
        return path

    return make


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("model_weights/virtual", layout)


def _link(file: h5py.File) -> None:
    file["model_weights/more"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft(file: h5py.File) -> None:
    file["model_weights/soft"] = h5py.SoftLink("/model_weights/answer")


def _spaces(folder: Path) -> Path:
    path = keras_zip(folder / "bad.keras", without=["config.json"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("config.json", "w") as entry:
        for _ in range(800):
            entry.write(b" " * MIB)
    return path


def _twice(folder: Path) -> Path:
    return keras_zip(folder / "bad.keras", extra=[("config.json", json.dumps(sequential(dense())).encode())])


def _cut(folder: Path) -> Path:
    path = keras_zip(folder / "bad.keras")
    path.write_bytes(path.read_bytes()[:2000])
    return path


def _renamed(folder: Path) -> Path:
    """An HDF5 file with a custom layer, called .keras: the content decides, so its layer is what is refused."""
    config = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Mine", "config": {"name": "odd"}}]}}
    return hdf5_model(folder / "model.h5", config).rename(folder / "model.keras")


def _weights_only(folder: Path) -> Path:
    path = folder / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"answer"]
        file.create_dataset("answer/kernel", data=[1.0])
    return path


def _patched(magic: bytes, change: Callable[[bytearray, int], None]) -> Callable[[Path], Path]:
    """A good HDF5 model in which the first block of a kind is damaged."""

    def make(folder: Path) -> Path:
        path = hdf5_model(folder / "bad.h5")
        content = bytearray(path.read_bytes())
        change(content, content.index(magic))
        path.write_bytes(content)
        return path

    return make


def _endless_free_list(content: bytearray, at: int) -> None:
    """The first free block of a local heap says that it is the next one, too."""
    free, address = struct.unpack_from("<QQ", content, at + 16)
    struct.pack_into("<Q", content, address + free, free)


def _endless_siblings(content: bytearray, at: int) -> None:
    """A node of a B-tree is its own left neighbour."""
    struct.pack_into("<Q", content, at + 16, at)
    struct.pack_into("<Q", content, at + 8, at)


def _endless_collection(content: bytearray, at: int) -> None:
    """An object of a global heap whose size leads back to itself."""
    struct.pack_into("<Q", content, at + 16 + 8, 2**64 - 16)


def _crashing_tree(content: bytearray, at: int) -> None:
    """A node of a B-tree that is its own child: the reader calls itself until its stack ends."""
    content[at + 5] = 1
    struct.pack_into("<Q", content, at + 24 + 8, at)


def _onnx_outside(location: str, offset: int = 0) -> Callable[[Path], Path]:
    entries = [(13, pb((1, "location"), (2, location)))]
    if offset:
        entries.append((13, pb((1, "offset"), (2, str(offset)))))
    return lambda folder: onnx.onnx_file(folder, onnx.graph(weights=[onnx.tensor("w", *entries, (14, 1))]))


def _onnx_outside_of_archive(location: str, offset: int = 0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        model = _onnx_outside(location, offset)(folder)
        path = folder / "bad.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(model, "net/net.onnx")
            for name in ("secret", "net/weights.bin"):
                archive.writestr(name, bytes(8))
        return path

    return make


def _deep_xml(folder: Path) -> Path:
    return openvino.packed(folder, openvino.HEAD + '<net name="x" version="11">' + "<layers>" * 50_000)


def _past_the_end(folder: Path) -> Path:
    constant = openvino.CONSTANT.replace('offset="0"', 'offset="8"')
    return openvino.packed(folder, openvino.net(openvino.PIXELS, constant, openvino.PRODUCT, openvino.RESULT))


def _doctype(folder: Path) -> Path:
    return openvino.packed(folder, openvino.net().replace("<net", '<!DOCTYPE net [<!ENTITY a "b">]><net', 1))


def _zip_with(name: str | zipfile.ZipInfo, content: bytes = b"x") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = saved_model_zip(folder / "bad.zip", saved_graph())
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        return path

    return make


def _tar_with(name: str, kind: bytes, link: str = "") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "bad.tar"
        with tarfile.open(path, "w") as archive:
            for entry, content in (("saved_model.pb", saved_graph()), ("variables/variables.index", b"x")):
                member = tarfile.TarInfo(entry)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
        return path

    return make


def _symlink() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("variables/link")
    entry.external_attr = 0o120777 << 16
    return entry


def _many(folder: Path) -> Path:
    path = saved_model_zip(folder / "bad.zip", saved_graph())
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(60_000):
            archive.writestr(f"assets/{number}", b"")
    return path


def _zeros(folder: Path) -> Path:
    path = saved_model_zip(folder / "bad.zip", saved_graph())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("assets/zeros", "w") as entry:
        for _ in range(1024):
            entry.write(bytes(MIB))
    return path


def _saved_model_text(folder: Path) -> Path:
    """M10: the graph as text, which nobody here reads."""
    path = folder / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("saved_model.pbtxt", "saved_model_schema_version: 1\n")
        archive.writestr("variables/variables.index", b"x")
    return path


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
_DEEP = '{"class_name": "Sequential", "config": ' + "[" * 100_000 + "]" * 100_000 + "}"

BAD_FILES = (
    Bad("M1", "lambda", "is a Lambda", _keras(layer("Lambda", "touch", function=LAMBDA))),
    Bad("M2", "getcwd", "names the function 'os.getcwd'", _keras(dense(activation=function("os", "getcwd")))),
    Bad("M3", "set_epsilon", "the function 'keras.config.set_epsilon'",
        _keras(dense(activation=function("keras.config", "set_epsilon")))),
    Bad("M4", "vocabulary", "reads its vocabulary from another file",
        _keras(layer("StringLookup", "words", vocabulary="/etc/passwd"))),
    Bad("M4", "TFSMLayer", "class 'TFSMLayer', which runs a program",
        _keras(layer("TFSMLayer", "door", filepath="/x"))),
    Bad("M4", "TorchModuleWrapper", "class 'TorchModuleWrapper', which runs a program",
        _keras(layer("TorchModuleWrapper", "door", module=None))),
    Bad("M5", "external_link", "is a link to another file", _hdf5(_link)),
    Bad("M5", "external_storage", "is kept in another file",
        _hdf5(lambda f: f.create_dataset("model_weights/raw", (4,), "f4", external=[("/etc/passwd", 0, 16)]))),
    Bad("M5", "virtual", "is a virtual dataset", _hdf5(_virtual)),
    Bad("M5", "soft_link", "is a soft link", _hdf5(_soft)),
    Bad("M6", "two_gib", "brings the declared size of the HDF5 file to 2.1 GB",
        _hdf5(lambda f: f.create_dataset("model_weights/huge", (1 << 29,), "f4", chunks=(1 << 20,), compression=1))),
    Bad("M7", "spaces", "839 MB", _spaces),
    Bad("M8", "units", "needs 8,000,000,000 weights", _keras(dense(units=2_000_000_000))),
    Bad("M9", "deep_json", "nested", lambda folder: keras_zip(folder / "bad.keras", _DEEP)),
    Bad("M9", "two_descriptions", "'config.json' twice", _twice),
    Bad("M9", "truncated", "damaged or was cut off", _cut),
    Bad("M9", "empty", "The file is empty", _raw(b"")),
    Bad("M9", "renamed", "The layer 'odd' is of the class 'Mine'", _renamed),
    Bad("M9", "weights_only", "weights only", _weights_only),
    Bad("M9", "pickle", "pickle", _raw(pickle.dumps({"a": list(range(100))}))),
    Bad("M9", "text", "text", _raw(b"Dear portal,\nthis is a letter.\n" * 20)),
    Bad("M10", "pbtxt", "saved_model.pbtxt", _saved_model_text),
    Bad("M12", "parent", "keeps its weights in another file", _onnx_outside("../secret")),
    Bad("M12", "absolute", "keeps its weights in another file", _onnx_outside("/etc/passwd")),
    Bad("M12", "beside", "keeps its weights in another file", _onnx_outside("weights.bin")),
    Bad("M12", "past_the_end", "keeps its weights in another file", _onnx_outside("weights.bin", 10**12)),
    Bad("M12", "packed_parent", "does not lie beside it", _onnx_outside_of_archive("../secret")),
    Bad("M12", "packed_absolute", "does not lie beside it", _onnx_outside_of_archive("/etc/passwd")),
    Bad("M12", "packed_past_the_end", "ends before the weights", _onnx_outside_of_archive("weights.bin", 10**12)),
    Bad("M13", "free_list", "ended early", _patched(b"HEAP", _endless_free_list)),
    Bad("M13", "siblings", "It took more than 8 s", _patched(b"TREE", _endless_siblings)),
    Bad("M13", "collection", "It took more than 8 s", _patched(b"GCOL", _endless_collection)),
    Bad("M13", "crash", "The file ended the process", _patched(b"TREE", _crashing_tree)),
    Bad("M14", "deep_xml", "nested", _deep_xml),
    Bad("M14", "past_the_end", "weights up to byte 56, but the .bin has only 48", _past_the_end),
    Bad("M14", "doctype", "document type", _doctype),
    Bad("M15", "zip_parent", "outside", _zip_with("../evil")),
    Bad("M15", "zip_absolute", "outside", _zip_with("/etc/evil")),
    Bad("M15", "zip_symlink", "plain file", _zip_with(_symlink(), b"/etc/passwd")),
    Bad("M15", "zip_double", "twice", _zip_with("saved_model.pb")),
    Bad("M15", "zip_many", "entries", _many),
    Bad("M15", "zip_zeros", "1.1 GB", _zeros),
    Bad("M15", "tar_parent", "outside", _tar_with("../evil", tarfile.REGTYPE)),
    Bad("M15", "tar_absolute", "outside", _tar_with("/evil", tarfile.REGTYPE)),
    Bad("M15", "tar_symlink", "plain file", _tar_with("variables/x", tarfile.SYMTYPE, "/etc/passwd")),
    Bad("M15", "tar_hardlink", "plain file", _tar_with("variables/x", tarfile.LNKTYPE, "/etc/passwd")),
    Bad("M15", "tar_fifo", "plain file", _tar_with("variables/x", tarfile.FIFOTYPE)),
)  # fmt: skip

LIVE_FILES = {
    "lambda_keras.keras": ("M1", "is a Lambda"),
    "lambda_h5.h5": ("M1", "is a Lambda"),
    "getcwd.keras": ("M2", "names the function 'os.getcwd'"),
    "set_epsilon.keras": ("M3", "names the function 'keras.config.set_epsilon'"),
    "vocabulary.keras": ("M4", "reads its vocabulary from another file"),
    "link.h5": ("M5", "is a link to another file"),
    "saved_write.zip": ("M10", "The operation 'WriteFile'"),
    "saved_init.zip": ("M10", "The operation 'WriteFile'"),
    "saved_read.zip": ("M10", "The operation 'ReadFile'"),
    "saved_print.zip": ("M10", "The operation 'PrintV2'"),
    "saved_python.zip": ("M10", "The operation 'EagerPyFunc'"),
}
"""File of tests.threats.live_files → its id and what its refusal says."""
