"""An ONNX model as PyTorch saves it: the graph, and the weights in a file beside it."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import onnx


def in_two_files(path: Path) -> dict[str, bytes]:
    """The model at `path` as the contents of two files."""
    names = ("net.onnx", "net.onnx.data")
    with tempfile.TemporaryDirectory() as folder:
        onnx.save_model(onnx.load(path), f"{folder}/{names[0]}", save_as_external_data=True, location=names[1])
        return {name: (Path(folder) / name).read_bytes() for name in names}


def packed_with_its_weights(path: Path, archive: Path) -> Path:
    """The two files in a folder of a zip."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in in_two_files(path).items():
            packed.writestr(f"net/{name}", content)
    return archive
