"""The engine `openvino`: OpenVINO IR (xml and bin, in a zip or a folder) and ONNX.

Thread pinning is off: with it, several processes all bind to the same first cores (two processes: 92–116 images a
second, 188 without). OpenVINO's conversion tool is not imported: nothing here uses it, it takes three quarters of
OpenVINO's import (271 ms with it, 64 without) and sends telemetry over the network.

OpenVINO's CPU plugin computes integers as int32 and float64 as float32, whatever the file says: see `is_narrow`.
"""

from __future__ import annotations

import mmap
import re
import sys
import tempfile
import zipfile
from collections.abc import Set as AbstractSet
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

if "openvino" not in sys.modules:
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]  # a module that is None is passed over
import openvino as ov
from openvino import opset13 as ops
from openvino.preprocess import PrePostProcessor

from inference import texts
from inference.archives import DAMAGED, is_zip, unpack
from inference.archives.entries import check_zip, content_begin
from inference.archives.onnx import opened_onnx
from inference.archives.openvino import model_pair
from inference.engines import EngineSettings, ModelUnusable, Tensors, first_line
from inference.refusal import FileRejected
from inference.signature import Signature, TensorSpec

__all__ = ("ALIGNMENT_BYTES", "OpenVinoEngine", "copied", "load", "missing_operation", "ops", "ov", "refusal")

Array = np.ndarray[Any, Any]
ALIGNMENT_BYTES = 64
"""Of the weights in an archive that a conversion writes, so that they can be mapped."""
_WITH_BODIES = ("Loop", "TensorIterator", "If")
_CALLERS_PER_STREAM = 2
"""While one caller's call is computed, the other's is already queued: with one per stream, 5 % of the cores idled."""
_MISSING = re.compile(
    r"(?:no translator found for operation\(s\):|conversion is failed for operation type:|Not supported ONNX op:|"
    r"No conversion rule found for operations:|No translator found for|not supported operation:?)\s*([\w.]+)"
)
_USED_OTHERWISE = re.compile(r"Conversion is failed for: (\w+)")


class OpenVinoEngine:
    """A compiled model with a small pool of infer requests: each call takes one, so several threads may be in `run`.

    `parallel` calls are computed at the same time; more, up to `callers`, are queued in OpenVINO and start without
    Python. Further calls wait for a free infer request.
    """

    def __init__(self, compiled: Any, weights: Array | None, *, may_loop: bool) -> None:
        self._compiled = compiled
        self._weights = weights  # OpenVINO reads them in place and does not keep them alive: without this it crashes
        self.device = "cpu"
        self.may_loop = may_loop
        self.parallel = max(1, int(compiled.get_property("NUM_STREAMS")))
        self.callers = self.parallel * _CALLERS_PER_STREAM if self.parallel > 1 else 1
        taken = frozenset(name for port in compiled.inputs for name in port.get_names())
        self.signature = Signature(
            tuple(_spec_of(port, f"input_{i}") for i, port in enumerate(compiled.inputs)),
            tuple(_spec_of(port, f"output_{i}", taken) for i, port in enumerate(compiled.outputs)),
        )
        self._input_names = [spec.name for spec in self.signature.inputs]
        self._output_names = [spec.name for spec in self.signature.outputs]
        self._takes_tensors = all(_is_plain(port) for port in compiled.inputs)
        self._free: SimpleQueue[Any] = SimpleQueue()
        requests = [compiled.create_infer_request() for _ in range(self.callers)]
        self._remembers = bool(requests[0].query_state())
        for request in requests:
            self._free.put(request)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        given = [inputs[name] for name in self._input_names]
        request = self._free.get()
        try:
            if self._remembers:  # the state of the last call, which may have been another client's
                request.reset_state()
            if self._takes_tensors:  # OpenVINO's own conversion of arrays to tensors takes longer than a small model
                given = [array if array.flags.carray else array.copy() for array in given]
                for i, array in enumerate(given):
                    request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))
                answers = request.infer()
            else:
                answers = request.infer(given, share_inputs=True)
            return dict(zip(self._output_names, answers.to_tuple(), strict=True))
        finally:
            self._free.put(request)


def load(path: Path, format_name: str, settings: EngineSettings) -> OpenVinoEngine:
    """Load and compile for the CPU. Raises ModelUnusable with a sentence where OpenVINO cannot."""
    core = ov.Core()
    if settings.precision not in _precisions(core):
        raise ModelUnusable(f"This processor does not compute in {settings.precision}. Choose f32.")
    try:
        model, weights = _read(core, path, format_name)
        model = _in_float32(model)
        _copy_converted(model)
        may_loop = any(op.get_type_name() in _WITH_BODIES for op in model.get_ops())
        return OpenVinoEngine(core.compile_model(model, "CPU", _properties(settings)), weights, may_loop=may_loop)
    except ModelUnusable:
        raise
    except FileRejected as rejected:
        raise ModelUnusable(rejected.message) from rejected
    except Exception as error:
        raise ModelUnusable(refusal(error)) from error


def refusal(error: Exception) -> str:
    """Why OpenVINO does not accept a file, as a sentence."""
    if operation := missing_operation(error):
        return f"OpenVINO has no operation for {operation}, which the model uses."
    if match := _USED_OTHERWISE.search(str(error)):
        return f"OpenVINO does not take the operation {match[1]} as the model uses it."
    return f"OpenVINO cannot read the file: {first_line(error)}"


def missing_operation(error: Exception) -> str:
    """The operation that OpenVINO does not have, or "" where its message names none."""
    match = _MISSING.search(str(error))
    return match[1] if match else ""


def _read(core: Any, path: Path, format_name: str) -> tuple[Any, Array | None]:
    """The model as OpenVINO's own graph, not compiled, and the weights that must outlive it."""
    if format_name == "openvino" and path.is_file() and path.suffix != ".xml":
        if is_zip(path):
            return _read_zip(core, path)
        path = _unpacked(path)
    if format_name == "openvino" and path.is_dir():
        path = path / model_pair([str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()])[0]
    if format_name == "onnx":
        with opened_onnx(path) as file:
            return core.read_model(str(file)), None
    return core.read_model(str(path)), None


def _in_float32(model: Any) -> Any:
    """Turn inputs and outputs in bf16, which numpy and the protocols do not have, into float32."""
    if all(port.get_element_type() != ov.Type.bf16 for port in (*model.inputs, *model.outputs)):
        return model
    ends = PrePostProcessor(model)
    for ports, end in ((model.inputs, ends.input), (model.outputs, ends.output)):
        for i, port in enumerate(ports):
            if port.get_element_type() == ov.Type.bf16:
                end(i).tensor().set_element_type(ov.Type.f32)
    return ends.build()


def copied(source: Any) -> Any:
    """A copy of a tensor: by conversion to the same type where the shape is fixed (a scalar cannot be broadcast), by
    broadcasting to the same shape where it is free. See `_copy_converted`."""
    shape = source.get_partial_shape()
    if shape.rank.is_static and shape.is_dynamic:
        return ops.broadcast(source, ops.shape_of(source)).output(0)
    return ops.convert(source, source.get_element_type()).output(0)


def _copy_converted(model: Any) -> None:
    """Copy outputs that come from a Convert, under the same names. Where that Convert changes nothing (float32 to
    float32, or by way of float16, which is computed in float32) and its input and output are free in shape, the CPU
    plugin of 2026.4 reads freed memory once the shape changes: it returns what is there or crashes with SIGSEGV."""
    for result in model.get_results():
        source = result.input_value(0)
        if source.get_node().get_type_name() == "Convert" and source.get_partial_shape().is_dynamic:
            names = source.get_names()
            source.get_tensor().set_names(set())
            copy = copied(source)
            copy.get_tensor().set_names(names)
            result.input(0).replace_source_output(copy)
    model.validate_nodes_and_infer_types()


def _spec_of(port: Any, otherwise: str, taken: frozenset[str] = frozenset()) -> TensorSpec:
    """Name, dtype and shape of an input or output. `otherwise` is the name where the file gives none. A name `taken` by
    an input is used only if there is no other: a tensor that is passed through has the names of both."""
    shape = tuple(int(d.get_length()) if d.is_static else None for d in port.get_partial_shape())
    names = port.get_names()
    return TensorSpec(_shortest(names - taken) or _shortest(names) or otherwise, _dtype(port.get_element_type()), shape)


def _is_plain(port: Any) -> bool:
    """Whether a numpy array can be used as this input's tensor without conversion: no texts, no scalar."""
    kind = port.get_element_type()
    return kind.get_type_name() != "string" and bool(port.get_partial_shape().rank.get_length())


def _shortest(names: AbstractSet[str]) -> str:
    """One tensor can have several names in OpenVINO; TensorFlow's `:0` is left out, then the shortest is taken."""
    return min((name.removesuffix(":0") for name in names), key=lambda name: (len(name), name), default="")


def _properties(settings: EngineSettings) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": settings.precision,
        "PERFORMANCE_HINT": "THROUGHPUT" if settings.streams > 1 else "LATENCY",
    }
    if settings.streams > 1:
        properties["NUM_STREAMS"] = settings.streams
    if settings.threads:
        properties["INFERENCE_NUM_THREADS"] = settings.threads
    if settings.cache_directory is not None:
        properties["CACHE_DIR"] = str(settings.cache_directory)
    return properties


def _precisions(core: Any) -> set[str]:
    known = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}
    return {known[name] for name in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") if name in known} | {"f32"}


def _dtype(element_type: Any) -> str:
    name = element_type.get_type_name()
    if name == "string":
        return texts.DTYPE
    return str(np.dtype(element_type.to_dtype()).name)


def _unpacked(path: Path) -> Path:
    """The folder of a tar archive. It stays: the weights are mapped from it until the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="openvino-")) / "model"
    unpack(path, folder)
    return folder


def _read_zip(core: Any, path: Path) -> tuple[Any, Array]:
    """Weights that are uncompressed and aligned in the archive (as a conversion writes them) are mapped, not copied."""
    try:
        with zipfile.ZipFile(path) as archive:
            files = check_zip(archive, path.stat().st_size)
            xml_name, weights_name = model_pair(files)
            text = archive.read(files[xml_name])
            weights = _mapped(path, files[weights_name])
            if weights is None:
                weights = np.frombuffer(bytearray(archive.read(files[weights_name])), np.uint8)
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelUnusable(DAMAGED) from error
    # As bytes: without weights, OpenVINO takes a `str` for the path of a file.
    return core.read_model(text, ov.Tensor(weights, shared_memory=True) if weights.size else b""), weights


def _mapped(path: Path, entry: zipfile.ZipInfo) -> Array | None:
    """The bytes of an entry that is stored and aligned, else None."""
    if entry.compress_type != zipfile.ZIP_STORED or not entry.file_size:
        return None
    with path.open("rb") as file:
        start = content_begin(file, entry)
        if start % ALIGNMENT_BYTES:
            return None
        # OpenVINO shares only writable arrays; nothing writes to this one, so no page is ever copied.
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.frombuffer(whole, np.uint8, entry.file_size, start)
