"""Detects the format of a file by its first bytes and an archive's table of contents, never by its name."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from inference.archives import opened_archive
from inference.archives.entries import entry_names
from inference.archives.onnx import ENDING as ONNX
from inference.catalog import FormatName
from inference.formats.hdf5 import WEIGHTS_ONLY
from inference.formats.keras import CONFIG, METADATA, NPZ_WEIGHTS, WEIGHTS
from inference.formats.keras import DAMAGED as DAMAGED_ARCHIVE
from inference.refusal import FileRejected

HEAD_BYTES = 64 << 10
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
PLAIN_MODELS = (".keras", ".h5", ".hdf5", ".tflite", ".pb")
"""Endings of files that hold a whole model and need no archive around them."""
SAVE_AS_KERAS = "Save the model with model.save('name.keras') and upload that file."

_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")
_OTHER_ARCHIVES = (b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd")
"""bzip2, xz, 7-Zip, RAR, Zstandard."""
# The length-delimited fields of ONNX's ModelProto (onnx.proto).
_ONNX_FIELDS = frozenset({2, 3, 4, 6, 7, 8, 14, 20, 25, 26})


def recognise(path: Path) -> FormatName:
    """The format of the file. Raises FileRejected, saying what the file looks like, if it is none of the known ones."""
    if path.stat().st_size == 0:
        raise FileRejected("The file is empty. Save the model again and upload the new file.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return _in_zip(path)
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return _in_tar(path, head)
    _refuse_known_others(head)
    text = _as_text(head)
    if text is not None:
        return _in_text(text)
    return _in_protobuf(head)


def _refuse_known_others(head: bytes) -> None:
    if head.startswith(_IMAGES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        raise FileRejected(f"This is an image, not a model. {SAVE_AS_KERAS}")
    if head.startswith(b"%PDF-"):
        raise FileRejected(f"This is a PDF document, not a model. {SAVE_AS_KERAS}")
    if head.startswith(_OTHER_ARCHIVES):
        raise FileRejected("This is an archive of a kind that is not read here. Pack it as .zip or .tar.gz.")
    if _is_pickle(head) or _is_pickle(_inflated(head)):
        raise FileRejected(
            "This is a Python pickle (as joblib, scikit-learn and older PyTorch write it), which can run any program "
            f"when it is opened. {SAVE_AS_KERAS}"
        )


def _is_pickle(head: bytes) -> bool:
    # Protocols 2 to 5 begin with PROTO and go on with a frame, an empty container, a class, a name or a number.
    return (
        len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and head[2:3] in b"\x95]})(cXK\x8aCGJNUVq\x8c\x88\x89"
    )


def _inflated(head: bytes) -> bytes:
    """The first bytes of a bare zlib stream (joblib's compress=True), or b""."""
    if head[:1] != b"\x78":
        return b""
    try:
        return zlib.decompressobj().decompress(head, 64)
    except zlib.error:
        return b""


def _in_zip(path: Path) -> FormatName:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(entry_names(archive))
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        raise FileRejected(DAMAGED_ARCHIVE) from None
    if names & {WEIGHTS, NPZ_WEIGHTS}:
        return "keras"
    # Exporters write files of these names beside models of other formats too.
    if names & {CONFIG, METADATA} and not any(name.endswith((*PLAIN_MODELS, ONNX, ".xml")) for name in names):
        return "keras"
    return _in_archive(names)


def _in_archive(names: set[str]) -> FormatName:
    leaves = {PurePosixPath(name).name for name in names if not name.endswith("/")}
    if "saved_model.pb" in leaves or "saved_model.pbtxt" in leaves:
        return "saved_model"
    if "data.pkl" in leaves:
        raise FileRejected(
            "This is a PyTorch file: a Python pickle in an archive, which can run any program when it is opened. "
            "Convert the model to Keras and upload the .keras file."
        )
    if CONFIG in leaves and WEIGHTS in leaves:
        raise FileRejected(
            "The files of the model lie in a folder of the archive. Pack them again without the folder, or upload the "
            ".keras file as it was saved."
        )
    if any(leaf.endswith(".weights.h5") for leaf in leaves):
        raise FileRejected(WEIGHTS_ONLY)
    is_pair = any(leaf.endswith(".xml") for leaf in leaves) and any(leaf.endswith(".bin") for leaf in leaves)
    seen = {leaf for leaf in leaves if not leaf.startswith(".")}
    if not is_pair and any(leaf.endswith(PLAIN_MODELS) for leaf in seen):
        raise FileRejected("The model lies inside an archive. Unpack it and upload the model file itself.")
    if leaves and all(leaf.endswith(".npy") for leaf in leaves):
        raise FileRejected(f"This is an archive of NumPy arrays without a description of layers. {SAVE_AS_KERAS}")
    if is_pair:
        return "openvino"
    if any(leaf.endswith(ONNX) for leaf in seen):
        return "onnx"
    raise FileRejected(f"The archive holds no model that is known here. {SAVE_AS_KERAS}")


def _in_tar(path: Path, head: bytes) -> FormatName:
    if head.startswith(b"\x1f\x8b"):
        try:
            begin = zlib.decompressobj(wbits=31).decompress(head, 1024)
        except zlib.error:
            raise FileRejected(DAMAGED_ARCHIVE) from None
        if _is_pickle(begin):
            _refuse_known_others(begin)
        if begin[257:262] != b"ustar":
            raise FileRejected(
                f"This is a packed file that holds no model known here. Unpack it first. {SAVE_AS_KERAS}"
            )
    with opened_archive(path) as archive:
        return _in_archive(set(archive.names))


def _as_text(head: bytes) -> str | None:
    # The head may end in the middle of a character of up to four bytes.
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return text if all(char.isprintable() or char in "\n\r\t\f\ufeff" for char in text) else None
    return None


def _in_text(text: str) -> FormatName:
    begin = text.lstrip("\ufeff \t\r\n").lower()
    if begin.startswith(("<?xml", "<net ")) and "<net " in begin:
        return "openvino"
    if begin.startswith(("<!doctype html", "<html", "<head")) or "<html" in begin[:1000]:
        raise FileRejected(
            "This is a web page, not a model: perhaps the page that offers the download was saved. "
            "Upload the file itself."
        )
    if begin.startswith("{") and '"class_name"' in begin:
        raise FileRejected(f"The file describes the layers but holds no weights. {SAVE_AS_KERAS}")
    if begin.startswith("version https://git-lfs"):
        raise FileRejected(
            "This is a Git LFS pointer, not the model. Fetch the file with git lfs pull and upload that."
        )
    if begin.startswith(("saved_model_schema_version", "meta_graphs")):
        return "saved_model"
    raise FileRejected(f"This is a text file, not a model. {SAVE_AS_KERAS}")


def _in_protobuf(head: bytes) -> FormatName:
    fields = _top_fields(head)
    numbers = [number for number, _, _ in fields]
    kinds = {number: wire for number, wire, _ in fields}
    if len(fields) >= 2 and kinds.get(1) == 0 and numbers[0] == 1:
        if numbers[1] == 2 and _first_field(fields[1][2]) in (1, 2, 3, 4, 5) and not _is_word(fields[1][2]):
            return "saved_model"
        if all((number in _ONNX_FIELDS and wire == 2) or number in (1, 5) for number, wire, _ in fields):
            return "onnx"
    if kinds.get(1) == 2 and numbers[0] == 1 and fields[0][2][:1] == b"\n" and set(numbers) <= {1, 2, 3, 4}:
        return "frozen_graph"
    raise FileRejected(f"The file is of no kind that is known here. {SAVE_AS_KERAS}")


def _is_word(raw: bytes) -> bool:
    return raw.isascii() and raw.decode("ascii").isprintable()


def _first_field(raw: bytes) -> int:
    return raw[0] >> 3 if raw else 0


def _top_fields(head: bytes) -> list[tuple[int, int, bytes]]:
    """The outermost protobuf fields that begin in `head`: number, wire type, content as far as `head` has it.
    Empty if these bytes are no protobuf (https://protobuf.dev/programming-guides/encoding/)."""
    fields: list[tuple[int, int, bytes]] = []
    at = 0
    while at < len(head) and len(fields) < 64:
        tag, at = _varint(head, at)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number < 1000 or wire not in (0, 2):
            return [] if at < len(head) else fields
        value, at = _varint(head, at)
        if wire == 0:
            fields.append((number, wire, b""))
            continue
        fields.append((number, wire, head[at : at + value]))
        at += value
    return fields


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(raw):
            return 0, at + 1
        value |= (raw[at] & 0x7F) << shift
        at += 1
        if not raw[at - 1] & 0x80:
            return value, at
    return 0, at
