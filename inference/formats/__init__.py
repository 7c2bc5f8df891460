"""What an uploaded file is and whether it may be loaded, without running any of it and without an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from inference.formats.facts import FileFacts
from inference.formats.frozen_graph import inspect_frozen_graph
from inference.formats.hdf5 import inspect_hdf5
from inference.formats.keras import inspect_keras
from inference.formats.onnx_model import inspect_onnx
from inference.formats.openvino_ir import inspect_openvino
from inference.formats.recognise import recognise
from inference.formats.saved_model import inspect_saved_model
from inference.formats.tflite import inspect_tflite
from inference.options import GraphEnds
from inference.refusal import FileRejected

__all__ = ["FileFacts", "FileRejected", "inspect_file"]


def inspect_file(
    path: Path,
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    is_trusted: bool = False,
    on_candidates: Callable[[GraphEnds], None] = lambda ends: None,
) -> FileFacts:
    """Detect the format by content and check the file. Raises FileRejected with a message for the person who uploads.

    Layers and operations are checked against allow-lists; with `is_trusted`, those of Keras and TensorFlow files are
    not. Keras models are assumed to be loaded with compile=False. `inputs` and `outputs` choose the inputs and outputs
    of a frozen graph; `on_candidates` is called with those that may be chosen, even if the graph is then rejected.
    HDF5's reader never returns on some damaged files: call this in a process with a time and a memory limit.
    """
    match recognise(path):
        case "keras":
            return inspect_keras(path, is_trusted=is_trusted)
        case "hdf5":
            return inspect_hdf5(path, is_trusted=is_trusted)
        case "saved_model":
            return inspect_saved_model(path, is_trusted=is_trusted)
        case "frozen_graph":
            return inspect_frozen_graph(
                path, inputs=inputs, outputs=outputs, is_trusted=is_trusted, on_candidates=on_candidates
            )
        case "onnx":
            return inspect_onnx(path)
        case "tflite":
            return inspect_tflite(path)
        case "openvino":
            return inspect_openvino(path)
