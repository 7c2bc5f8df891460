"""Keras models in one HDF5 file (.h5, .hdf5), as Keras 2 and 3 write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from inference.formats.facts import FileFacts
from inference.formats.hdf5_tree import DAMAGED, walk_tree
from inference.formats.json_text import objects_in, parse_config
from inference.formats.keras_config import check_config
from inference.formats.keras_memory import memory_notes
from inference.formats.keras_scaling import scaling_notes
from inference.refusal import FileRejected, shown

WEIGHTS_ONLY = "The file holds weights only. Save the whole model with model.save('name.keras') and upload that file."
LOOKUPS = ("IntegerLookup", "StringLookup", "TextVectorization")
KERAS_3_WEIGHTS = ("layers", "vars", "_layer_checkpoint_dependencies")


def inspect_hdf5(path: Path, *, is_trusted: bool = False) -> FileFacts:
    """Raises FileRejected unless this is a whole Keras model and, without `is_trusted`, only of Keras' own parts."""
    size_bytes = path.stat().st_size
    try:
        file = h5py.File(path, "r")
    except (OSError, ValueError, RuntimeError):
        raise FileRejected(DAMAGED) from None
    with file:
        stored = walk_tree(file, size_bytes, is_trusted=is_trusted)
        raw = _text_attribute(file, "model_config")
        if raw is None:
            raise _no_model(file)
        if "model_weights" not in file:
            raise FileRejected(
                "The file describes the layers but holds no weights. Save the whole model with "
                "model.save('name.keras') and upload that file."
            )
        _check_version(file)
    config = parse_config(raw)
    check_config(config, stored, is_trusted=is_trusted)
    _check_vocabularies(config)
    return FileFacts("hdf5", notes=scaling_notes(config) + memory_notes(config))


def _check_version(file: h5py.File) -> None:
    """Raises FileRejected where the Keras version, stored in one of two places, is no text, or 0.x or 1.x."""
    version = _text_attribute(file, "keras_version") or _text_attribute(file["model_weights"], "keras_version") or b""
    if version.startswith((b"0.", b"1.")):
        raise FileRejected(
            f"The file was saved by Keras {shown(version.decode('utf-8', 'replace'))}, which names layers and their "
            "arguments otherwise than later versions. Load it with Keras 2.0 to 2.3, which still read it, save it "
            "again and upload the new file."
        )


def _check_vocabularies(config: dict[str, Any]) -> None:
    """Raises FileRejected where the words of a layer are lost: Keras 3 writes those that it has learnt by `adapt` into
    .keras only (index_lookup.py, `save_assets`)."""
    for item in objects_in(config):
        inner = item.get("config")
        if item.get("class_name") in LOOKUPS and isinstance(inner, dict) and inner.get("vocabulary") is None:
            raise FileRejected(
                f"The layer '{shown(str(inner.get('name')))}' has lost its vocabulary: HDF5 does not hold what a layer "
                "has learnt with adapt. Save the model with model.save('name.keras') and upload that file."
            )


def _text_attribute(item: h5py.Group, name: str) -> bytes | None:
    try:
        value = item.attrs.get(name)
    except (OSError, RuntimeError, ValueError, TypeError):
        raise FileRejected(DAMAGED) from None
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return bytes(value)
    raise FileRejected(DAMAGED)


def _no_model(file: h5py.File) -> FileRejected:
    if "layer_names" in file.attrs or any(name in file for name in (*KERAS_3_WEIGHTS, "model_weights")):
        return FileRejected(WEIGHTS_ONLY)
    return FileRejected(
        "This is an HDF5 file, but it holds no Keras model. Save the model with model.save('name.keras') and upload "
        "that file."
    )
