"""An ONNX model as PyTorch saves it: the graph, and the weights in a file beside it."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import onnx


def packed_with_its_weights(path: Path, archive: Path) -> Path:
    """The model at `path`, saved in two files that lie in a zip."""
    model = onnx.load(path)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save_model(model, f"{folder}/net.onnx", save_as_external_data=True, location="net.onnx.data")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in ("net.onnx", "net.onnx.data"):
                packed.write(f"{folder}/{name}", f"net/{name}")
    return archive
