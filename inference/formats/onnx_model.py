"""ONNX models (onnx.proto): one ModelProto with everything inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inference.formats.facts import FileFacts, FileRejected, shown
from inference.formats.label_text import read_labels
from inference.formats.protobuf import DAMAGED, MAX_DEPTH, TOO_DEEP, Budget, Message, as_text, opened_bytes
from inference.signature import Shape, Signature, TensorSpec

# TensorProto.DataType → numpy's name.
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
LABEL_KEYS = ("character", "labels", "classes", "names", "class_names")
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# onnxruntime's own operations that only calculate; EPContext, for one, reads another file.
_MICROSOFT = """
    Attention BeamSearch BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector
    BitmaskBiasDropout BitmaskDropout CDist ComplexMul ComplexMulConj ConvTransposeWithDynamicPads CropAndResize
    DecoderAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention DequantizeBFP DequantizeLinear
    DynamicQuantizeLSTM DynamicQuantizeMatMul DynamicTimeWarping EmbedLayerNormalization ExpandDims FastGelu
    FusedConv FusedGemm FusedMatMul FusedMatMulActivation GatedRelativePositionBias GatherBlockQuantized GatherND
    Gelu GemmFastGelu GemmFloat8 GreedySearch GridSample GroupNorm GroupQueryAttention Inverse Irfft
    LongformerAttention MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat MatMulNBits MaxpoolWithMask MoE
    MulInteger MultiHeadAttention MurmurHash3 NGramRepeatBlock NhwcConv NhwcFusedConv NhwcMaxPool PackedAttention
    PackedMultiHeadAttention Pad QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool
    QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid
    QLinearSoftmax QLinearWhere QMoE QOrderedAttention QOrderedGelu QOrderedLayerNormalization
    QOrderedLongformerAttention QOrderedMatMul QuantizeBFP QuantizeLinear QuantizeWithOrder DequantizeWithOrder
    QuickGelu Range ReduceSumInteger RelativePositionBias RemovePadding RestorePadding Rfft RotaryEmbedding Sampling
    SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization SparseToDenseMatMul Tokenizer
    TorchEmbedding TransposeMatMul Trilu UnfoldTensor Unique WhisperBeamSearch WordConvEmbedding
"""
MICROSOFT_OPS = frozenset(_MICROSOFT.split())

EXTERNAL = (
    "The ONNX file keeps its weights in another file, which is not read here. Save it with all weights inside "
    "(onnx.save_model with save_as_external_data=False) and upload that file."
)


@dataclass(frozen=True, slots=True)
class _Values:
    """The inputs or outputs of the graph; `is_open` where the rank or the kind of one cannot be told."""

    specs: tuple[TensorSpec, ...]
    is_open: bool


def inspect_onnx(path: Path) -> FileFacts:
    """Raises FileRejected for weights in other files and operations that onnxruntime itself does not have."""
    with opened_bytes(path) as raw:
        model = Message(raw, Budget())
        graph = model.one(7)
        if graph is None:
            raise FileRejected(DAMAGED)
        _check_opset(model)
        _check_functions(model)
        _Walk(_own_functions(model)).graph(graph)
        training = list(model.all(20))
        if training:
            raise FileRejected(
                "The ONNX file holds a graph for training. Export the model for inference and upload that file."
            )
        weights = {name for number in (5, 15) for name in _weight_names(graph, number)}
        inputs, outputs = _values(graph, 11, weights), _values(graph, 12, set())
        labels = _labels(model)
        for number in (2, 3):
            model.text(number)  # the producer's name and version, which are used nowhere: refused where too long
    if not outputs.specs and not outputs.is_open:
        raise FileRejected("The ONNX file names no output. Export the model again and upload the new file.")
    signature = None if inputs.is_open or outputs.is_open else Signature(inputs.specs, outputs.specs)
    return FileFacts("onnx", labels, signature)


def _check_opset(model: Message) -> None:
    if not model.has(8):
        raise FileRejected("The ONNX file does not say which operation set it uses. Export it again.")


def _own_functions(model: Message) -> set[tuple[str, str]]:
    """Functions that the file defines itself, by domain and name."""
    return {(function.text(10), function.text(1)) for function in model.all(25)}


def _check_functions(model: Message) -> None:
    walk = _Walk(_own_functions(model))
    for function in model.all(25):
        walk.function(function)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Looks at every node and every tensor, inner graphs too."""

    own: set[tuple[str, str]]

    def graph(self, graph: Message) -> None:
        for number, _, value in graph.fields():
            if isinstance(value, int):
                continue
            item = _inner(graph, value)
            if number == 1:
                self.node(item)
            elif number == 5:
                _check_tensor(item)
            elif number == 15:
                _check_sparse(item)

    def function(self, function: Message) -> None:
        for node in function.all(7):
            self.node(node)
        for default in function.all(11):
            self._attribute(default)

    def node(self, node: Message) -> None:
        op, domain = "", ""
        for number, _, value in node.fields():
            if isinstance(value, int):
                continue
            if number == 4:
                op = as_text(value)
            elif number == 7:
                domain = as_text(value)
            elif number == 5:
                self._attribute(_inner(node, value))
        if domain in STANDARD_DOMAINS or (domain, op) in self.own:
            return
        if domain == "com.microsoft":
            if op in MICROSOFT_OPS:
                return
            raise FileRejected(
                f"The operation '{shown(op)}' of onnxruntime is not one of the plain calculations that are allowed "
                "here. Export the model without it."
            )
        raise FileRejected(
            f"The operation '{shown(op)}' belongs to '{shown(domain)}', which is not part of ONNX and needs a program "
            "that is not in the file. Export the model with ONNX's own operations."
        )

    def _attribute(self, attribute: Message) -> None:
        for number, _, value in attribute.fields():
            if isinstance(value, int):
                continue
            if number in (6, 11):
                self.graph(_inner(attribute, value))
            elif number in (5, 10):
                _check_tensor(_inner(attribute, value))
            elif number in (22, 23):
                _check_sparse(_inner(attribute, value))


def _inner(outer: Message, value: memoryview) -> Message:
    if outer.depth >= MAX_DEPTH:
        raise FileRejected(TOO_DEEP)
    return Message(value, outer.budget, outer.depth + 1)


def _check_tensor(tensor: Message) -> None:
    for number, _, value in tensor.fields():
        if number == 13 or (number == 14 and value != 0):
            raise FileRejected(EXTERNAL)


def _check_sparse(sparse: Message) -> None:
    for number in (1, 2):
        for tensor in sparse.all(number):
            _check_tensor(tensor)


def _weight_names(graph: Message, number: int) -> Iterator[str]:
    for tensor in graph.all(number):
        values = tensor if number == 5 else tensor.one(1)
        if values is not None:
            yield values.text(8)


def _values(graph: Message, number: int, without: set[str]) -> _Values:
    specs, is_open = [], False
    for value in graph.all(number):
        name = value.text(1)
        if name in without:
            continue
        kind = value.one(2)
        tensor = kind.one(1) if kind else None
        shape_message = tensor.one(2) if tensor else None
        dtype = DTYPES.get(tensor.integer(1), "") if tensor else ""
        if number == 11 and tensor is None:
            raise FileRejected(
                f"The input '{shown(name)}' is no tensor but a list or a map, which cannot be asked for here. "
                "Export the model with tensors as inputs."
            )
        if shape_message is None or not dtype:
            is_open = True
            continue
        specs.append(TensorSpec(name, dtype, _shape(shape_message)))
    return _Values(tuple(specs), is_open)


def _shape(message: Message) -> Shape:
    """A dimension with a name, with nothing, or not above zero is free."""
    sizes = [dimension.integer(1) for dimension in message.all(1)]
    return tuple(size if size > 0 else None for size in sizes)


def _labels(model: Message) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for entry in model.all(14):
        key = entry.text(1)
        if key.lower() in LABEL_KEYS:
            found.setdefault(key.lower(), entry.text(2))
    for key in LABEL_KEYS:
        if labels := read_labels(found.get(key, "")):
            return labels
    return ()
