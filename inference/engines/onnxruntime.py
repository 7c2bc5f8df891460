"""The engine `onnxruntime`: ONNX files on the CPU, without custom extensions.

A file is alone in its folder: weights in separate files (ONNX external data) exist only if they came in its archive.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from inference import texts
from inference.archives.onnx import EXTERNAL, opened_onnx
from inference.engines import EngineSettings, ModelUnusable, Tensors, first_line, holds_text
from inference.errors import BadInput
from inference.signature import Signature, TensorSpec

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "bool": "bool",
    "string": texts.DTYPE,
}
_TENSOR = re.compile(r"tensor\((\w+)\)")
_ERRORS_ONLY = 3
_REPEATING = (b"Loop", b"Scan", b"Search", b"Sampling", b"SequenceMap")
"""Parts of the names of operations that loop over a part of the graph, depending on values (Operators.md of ONNX, and
ContribOperators.md of ONNX Runtime: BeamSearch, GreedySearch)."""


class OnnxRuntimeEngine:
    """One session. ONNX Runtime itself allows several threads in `run`, which share the session's thread pool; two of
    them are 15 % slower than one, because threads that wait for a part of their call spin."""

    parallel = callers = 1
    device = "cpu"

    def __init__(self, session: Any, *, may_loop: bool) -> None:
        self._session = session
        self.may_loop = may_loop
        self.signature = Signature(
            tuple(_spec(tensor) for tensor in session.get_inputs()),
            tuple(_spec(tensor) for tensor in session.get_outputs()),
        )
        self._output_names = [spec.name for spec in self.signature.outputs]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        given = {name: _words(array) if array.dtype.kind == "O" else array for name, array in inputs.items()}
        try:
            outputs = self._session.run(self._output_names, given)
        except InvalidArgument as error:
            raise BadInput(f"The model does not take these values: {_reason(error)}") from error
        return {name: _array(value) for name, value in zip(self._output_names, outputs, strict=True)}


def load(path: Path, format_name: str, settings: EngineSettings) -> OnnxRuntimeEngine:
    """Load an ONNX file. Raises ModelUnusable with a sentence where ONNX Runtime cannot."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if settings.threads:
        options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    try:
        with opened_onnx(path) as file:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            return OnnxRuntimeEngine(session, may_loop=holds_text(file, _REPEATING))
    except ModelUnusable:
        raise
    except Exception as error:
        raise ModelUnusable(_sentence(error)) from error


def _words(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Texts as `str`, as ONNX Runtime takes them. Raises BadInput where one is not UTF-8."""
    words = array.copy()
    flat = words.reshape(-1)
    try:
        for i, text in enumerate(flat):
            flat[i] = text.decode()
    except UnicodeDecodeError as error:
        raise BadInput("A text of the request is no UTF-8.") from error
    return words


def _array(value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype.kind == "O":
        flat = array.reshape(-1)
        for i, word in enumerate(flat):
            flat[i] = word.encode()
    return array


def _spec(tensor: Any) -> TensorSpec:
    match = _TENSOR.fullmatch(tensor.type)
    if tensor.type.startswith("seq(map("):
        raise ModelUnusable(
            f"The output {tensor.name} is a list of dictionaries (ZipMap), which cannot be sent here. Convert the "
            "model again without it: options={'zipmap': False} in skl2onnx, zipmap=False in onnxmltools."
        )
    if match is None or match[1] not in _DTYPES:
        raise ModelUnusable(f"The tensor {tensor.name} is of the kind {tensor.type}, which cannot be sent here.")
    shape = tuple(n if isinstance(n, int) and n >= 0 else None for n in tensor.shape)
    return TensorSpec(tensor.name, _DTYPES[match[1]], shape)


def _sentence(error: Exception) -> str:
    text = str(error)
    if "external data" in text.lower() or "external_data" in text:
        return EXTERNAL
    if found := re.search(r"Could not find an implementation for (\w+)\(", text):
        return (
            f"ONNX Runtime has no {found[1]} for the kind of numbers that the model computes with on this processor "
            "(bfloat16, say). Export the model in float32."
        )
    if found := re.search(r"(?:is not a registered function/op|No Op registered for) ?:?\s*([\w.]+)?", text):
        return f"The model uses the operation {found[1] or 'of its own'}, which ONNX Runtime does not have."
    return f"ONNX Runtime cannot read the file: {_reason(error)}"


def _reason(error: Exception) -> str:
    """The error message without the error code and the name of the node where it occurred."""
    said = str(error).rpartition("Status Message: ")[2]
    return first_line(Exception(re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", said)))
