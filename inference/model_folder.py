"""What an engine is given of an uploaded file: the file itself, or what lies in it as a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from inference.archives import is_archive, unpack
from inference.refusal import FileRejected

SUFFIXES = {
    "keras": ".keras",
    "hdf5": ".h5",
    "frozen_graph": ".pb",
    "onnx": ".onnx",
    "tflite": ".tflite",
}
_CHANGED = "The archive holds something else than when it was checked. Upload it again."


def lay_out(source: Path, format_name: str, folder: Path) -> Path:
    """Put the model into `folder`, where nothing called `model…` may be yet, and return what the engine is to open:

    a file with the ending its loader wants (a hard link, or a copy across file systems); for `saved_model` the folder
    of saved_model.pb; for `openvino` the .xml, with its .bin beside it. Raises FileRejected, OSError.
    """
    if format_name in SUFFIXES:
        return _linked(source, folder / f"model{SUFFIXES[format_name]}")
    target = folder / "model"
    if not is_archive(source):
        target.mkdir(mode=0o700)
        _linked(source, target / "saved_model.pb")
        return target
    unpack(source, target)
    if format_name == "saved_model":
        found = [path.parent for path in target.rglob("saved_model.pb")]
    else:
        found = [path for path in target.rglob("*.xml") if path.with_suffix(".bin").is_file()]
    if len(found) != 1:
        raise FileRejected(_CHANGED)
    return found[0]


def _linked(source: Path, target: Path) -> Path:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)
    return target
