"""Converts to OpenVINO's own format: model.xml and model.bin in a zip, uncompressed and aligned for memory mapping.

OpenVINO's readers are used, not its conversion tool, which sends telemetry over the network. Weights stay f32.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from openvino.passes import ConstantFolding, Manager

from inference.archives.onnx import opened_onnx
from inference.conversion import CannotConvert
from inference.engines import openvino
from inference.signature import Signature

ov, ops = openvino.ov, openvino.ops
_PRODUCTS = frozenset({"MatMul", "Convolution", "GroupConvolution"})
XML, BIN = "model.xml", "model.bin"
_LOCAL_HEADER_BYTES = 30
_PADDING_ID = 0xD935  # the field that Android's zipalign pads with; readers skip fields that they do not know


def convert_file(source: Path, source_format: str, engine: Any, path: Path) -> None:
    """ONNX or TensorFlow Lite → OpenVINO; `engine` is the reference engine with the file open. Raises CannotConvert."""
    signature = engine.signature
    if source_format == "tflite":
        tensors = engine.tensors
        write_openvino(
            source,
            path,
            signature,
            [tensor.file_name for tensor in tensors[: len(signature.inputs)]],
            [tensor.file_name for tensor in tensors[len(signature.inputs) :]],
            quantised={t.spec.name: (t.stored, t.scale, t.zero_point) for t in tensors if t.is_quantised},
        )
        return
    names = [spec.name for spec in signature.inputs], [spec.name for spec in signature.outputs]
    with opened_onnx(source) as file:
        write_openvino(file, path, signature, *names)


def write_openvino(
    source: Path,
    path: Path,
    signature: Signature,
    inputs: Sequence[str],
    outputs: Sequence[str],
    quantised: dict[str, tuple[Any, float, int]] | None = None,
    weights: Mapping[str, Any] | None = None,
) -> None:
    """Write the zip at `path`. `inputs` and `outputs` are the file's names in the order of the signature, whose names
    the result gets; the scale and zero point of `quantised` tensors become part of the graph, so that it takes float32;
    `weights` (variables) replace the inputs of these names as constants."""
    try:
        model = ov.Core().read_model(str(source))
    except Exception as error:
        raise _cannot(error) from error
    if weights:
        _fill_in(model, weights)
    if len(model.outputs) > len(outputs):
        _drop_idle_ends(model, outputs)
    _part_ends(model)
    _name(model.inputs, inputs, [spec.name for spec in signature.inputs])
    _name(model.outputs, outputs, [spec.name for spec in signature.outputs])
    _widen_products(model)
    if quantised:
        model = _with_real_ends(model, quantised)
    with tempfile.TemporaryDirectory(prefix="openvino-") as folder:
        xml = Path(folder) / XML
        ov.save_model(model, str(xml), compress_to_fp16=False)
        _pack(xml, xml.with_suffix(".bin"), path)


def _fill_in(model: Any, weights: Mapping[str, Any]) -> None:
    """Insert the weights. Operations that the reader put between a weight and its use are computed now, not at load."""
    for parameter in model.get_parameters():
        names = {name.removesuffix(":0") for name in parameter.output(0).get_names()} & weights.keys()
        if names:
            constant = ops.constant(weights[names.pop()].numpy(), shared_memory=True)
            for target in parameter.output(0).get_target_inputs():
                target.replace_source_output(constant.output(0))
            model.remove_parameter(parameter)
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _name(ports: Sequence[Any], file_names: Sequence[str], originals: Sequence[str]) -> None:
    """Give each port its original name, found by its name in the file, or by position if the reader lost the names."""
    for i, port in enumerate(ports):
        known = {name.removesuffix(":0") for name in port.get_names()}
        place = next((at for at, name in enumerate(file_names) if name.removesuffix(":0") in known), i)
        if len(ports) == len(originals):
            port.get_tensor().set_names({originals[place]})


def _drop_idle_ends(model: Any, outputs: Sequence[str]) -> None:
    """Remove the results that OpenVINO's reader of TensorFlow's graphs adds for inputs that nothing reads. That of an
    input that is passed through is named like the output, and stays."""
    wanted = {name.removesuffix(":0") for name in outputs}
    for result in model.get_results():
        source = result.input_value(0)
        names = {name.removesuffix(":0") for name in (result.get_friendly_name(), *source.get_names())}
        if source.get_node().get_type_name() == "Parameter" and not names & wanted:
            model.remove_result(result)


def _part_ends(model: Any) -> None:
    """Copy each output that is an unchanged input, or the same tensor as another output: one tensor cannot have the
    names of both."""
    readers = Counter(_place(result) for result in model.get_results())
    for result in model.get_results():
        source = result.input_value(0)
        if source.get_node().get_type_name() == "Parameter" or readers[_place(result)] > 1:
            copy = openvino.copied(source)
            copy.get_tensor().set_names({result.get_friendly_name()})
            result.input(0).replace_source_output(copy)
    model.validate_nodes_and_infer_types()


def _place(result: Any) -> tuple[str, int]:
    """Where an output comes from."""
    source = result.input_value(0)
    return source.get_node().get_name(), source.get_index()


def _widen_products(model: Any) -> None:
    """Make products of int8 tensors int32, as in TensorFlow: OpenVINO's reader keeps the type of the factors, and −1187
    would become −128. Keras' quantised layers (model.quantize("int8")) have such products."""
    narrow = (ov.Type.i8, ov.Type.u8)
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _PRODUCTS:
            continue
        for factor in node.inputs():
            source = factor.get_source_output()
            if source.get_element_type() in narrow:
                factor.replace_source_output(ops.convert(source, ov.Type.i32).output(0))
    model.validate_nodes_and_infer_types()


def _with_real_ends(model: Any, quantised: dict[str, tuple[Any, float, int]]) -> Any:
    """stored = round(real ÷ scale) + zero point within the type's range; real = scale × (stored − zero point)."""
    parameters, results = [], []
    for parameter in model.get_parameters():
        name = next(iter(parameter.output(0).get_names()), "")
        if name not in quantised or parameter.get_element_type() == ov.Type.f32:
            parameters.append(parameter)
            continue
        stored, scale, zero = quantised[name]
        real = ops.parameter(parameter.get_partial_shape(), ov.Type.f32)
        limits = np.iinfo(stored)
        scaled = ops.add(ops.round(ops.divide(real, np.float32(scale)), "half_to_even"), np.float32(zero))
        kept = ops.convert(ops.clamp(scaled, float(limits.min), float(limits.max)), parameter.get_element_type())
        targets = parameter.output(0).get_target_inputs()
        for target in targets:
            target.replace_source_output(kept.output(0))
        parameter.output(0).get_tensor().set_names(set())
        real.output(0).get_tensor().set_names({name})
        parameters.append(real)
    for result in model.get_results():
        source = result.input_value(0)
        name = next(iter(source.get_names()), "")
        if name not in quantised or source.get_element_type() == ov.Type.f32:
            results.append(result)
            continue
        _, scale, zero = quantised[name]
        shifted = ops.subtract(ops.convert(source, ov.Type.f32), np.float32(zero))
        scaled = ops.multiply(shifted, np.float32(scale))
        source.get_tensor().set_names(set())
        scaled.output(0).get_tensor().set_names({name})
        results.append(ops.result(scaled))
    return ov.Model(results, parameters, model.get_friendly_name())


def _pack(xml: Path, weights: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.write(xml, XML)
        entry = zipfile.ZipInfo.from_file(weights, BIN)
        assert archive.fp is not None
        # An extra field (identifier, length, zeros) pads to the next multiple; zip64 files have 20 bytes more.
        before = archive.fp.tell() + _LOCAL_HEADER_BYTES + len(BIN) + 4
        before += 20 if entry.file_size * 1.05 > zipfile.ZIP64_LIMIT else 0
        padding = -before % openvino.ALIGNMENT_BYTES
        entry.extra = _PADDING_ID.to_bytes(2, "little") + padding.to_bytes(2, "little") + bytes(padding)
        with weights.open("rb") as source, archive.open(entry, "w") as target:
            while chunk := source.read(1 << 20):
                target.write(chunk)


def _cannot(error: Exception) -> CannotConvert:
    return CannotConvert(openvino.missing_operation(error), openvino.refusal(error))
