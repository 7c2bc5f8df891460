"""ONNX models (onnx.proto): one ModelProto, with its weights inside or in separate files of the same archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from inference.archives import is_archive, opened_archive
from inference.archives.onnx import EXTERNAL, model_entry
from inference.formats.facts import FileFacts
from inference.formats.label_text import labels_beside, read_labels
from inference.formats.onnx_weights import WeightFiles
from inference.formats.protobuf import (
    DAMAGED,
    MAX_DEPTH,
    TOO_DEEP,
    TOO_MANY,
    Budget,
    Message,
    as_text,
    opened_bytes,
    opened_entry,
)
from inference.refusal import FileRejected, shown

_KINDS = range(1, 17)  # TensorProto.DataType, float to bfloat16
LABEL_KEYS = ("character", "labels", "classes", "names", "class_names")
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# onnxruntime's own operations that only calculate (EPContext, for example, reads another file).
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

MAX_NODES = 1_000_000
_Key = tuple[str, str, str]
"""Domain, name and overload of an operation or a function."""


def inspect_onnx(path: Path) -> FileFacts:
    """Raises FileRejected for weights in files outside of the archive, and for operations that are neither ONNX's own,
    nor in MICROSOFT_OPS, nor defined in the file."""
    if not is_archive(path):
        with opened_bytes(path) as raw:
            return FileFacts("onnx", _inspect(raw, None))
    with opened_archive(path) as archive:
        model = model_entry(archive)
        with opened_entry(archive, model) as raw:
            labels = _inspect(raw, WeightFiles.beside(model, archive))
        return FileFacts("onnx", labels or labels_beside(archive, PurePosixPath(model.name).parent))


def _inspect(raw: memoryview, weight_files: WeightFiles | None) -> tuple[str, ...]:
    """Check the model; returns its labels."""
    model = Message(raw, Budget())
    graph = model.one(7)
    if graph is None:
        raise FileRejected(DAMAGED)
    _check_opset(model)
    own = _own_functions(model)
    walks = {key: _Walk(own.keys(), weight_files) for key in own}
    for key, function in own.items():
        walks[key].function(function)
    walk = _Walk(own.keys(), weight_files)
    walk.graph(graph)
    _check_expanded({key: each.nodes for key, each in walks.items()}, walk.nodes)
    if model.has(20):
        raise FileRejected(
            "The ONNX file holds a graph for training. Export the model for inference and upload that file."
        )
    weights = {name for number in (5, 15) for name in _weight_names(graph, number)}
    _check_inputs(graph, weights)
    if not _checked_outputs(graph):
        raise FileRejected("The ONNX file names no output. Export the model again and upload the new file.")
    return _labels(model)


def _check_opset(model: Message) -> None:
    if not model.has(8):
        raise FileRejected("The ONNX file does not say which operation set it uses. Export it again.")


def _own_functions(model: Message) -> dict[_Key, Message]:
    """The functions that the file itself defines. Raises FileRejected where two cannot be told apart."""
    functions = list(model.all(25))
    own = {(function.text(10), function.text(1), function.text(13)): function for function in functions}
    if len(own) < len(functions):
        raise FileRejected(DAMAGED)
    return own


def _check_expanded(functions: Mapping[_Key, Counter[_Key]], graph: Counter[_Key]) -> None:
    """Raises FileRejected where the graph has too many nodes, or never ends, once onnxruntime has put each function's
    nodes in the place of its calls: 40 functions that call the next one twice are 5 KB, and 2^39 nodes."""
    known: dict[_Key, int] = {}

    def nodes(called: Counter[_Key], path: tuple[_Key, ...]) -> int:
        if len(path) > MAX_DEPTH:
            raise FileRejected(TOO_DEEP)
        total = 0
        for key, count in called.items():
            if key in path:
                raise FileRejected(f"The function '{shown(key[1])}' of the ONNX file calls itself. Export it again.")
            if key in functions and key not in known:
                known[key] = nodes(functions[key], (*path, key))
            total += count * known.get(key, 1)
        return total

    if nodes(graph, ()) > MAX_NODES:
        raise FileRejected(TOO_MANY)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Checks every node and tensor, inner graphs too. `weight_files` is None for a model without an archive. `nodes`
    counts the nodes by operation."""

    own: Collection[_Key]
    weight_files: WeightFiles | None
    nodes: Counter[_Key] = field(default_factory=Counter)

    def graph(self, graph: Message) -> None:
        for number, _, value in graph.fields():
            if isinstance(value, int):
                continue
            item = _inner(graph, value)
            if number == 1:
                self.node(item)
            elif number == 5:
                self._tensor(item)
            elif number == 15:
                self._sparse(item)

    def function(self, function: Message) -> None:
        for node in function.all(7):
            self.node(node)
        for default in function.all(11):
            self._attribute(default)

    def node(self, node: Message) -> None:
        op = domain = overload = ""
        for number, _, value in node.fields():
            if isinstance(value, int):
                continue
            if number == 4:
                op = as_text(value)
            elif number == 7:
                domain = as_text(value)
            elif number == 8:
                overload = as_text(value)
            elif number == 5:
                self._attribute(_inner(node, value))
        self.nodes[domain, op, overload] += 1
        if domain in STANDARD_DOMAINS or (domain, op, overload) in self.own:
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
                self._tensor(_inner(attribute, value))
            elif number in (22, 23):
                self._sparse(_inner(attribute, value))

    def _tensor(self, tensor: Message) -> None:
        if not any(number == 13 or (number == 14 and value != 0) for number, _, value in tensor.fields()):
            return
        if self.weight_files is None:
            raise FileRejected(EXTERNAL)
        self.weight_files.check(tensor)

    def _sparse(self, sparse: Message) -> None:
        for number in (1, 2):
            for tensor in sparse.all(number):
                self._tensor(tensor)


def _inner(outer: Message, value: memoryview) -> Message:
    if outer.depth >= MAX_DEPTH:
        raise FileRejected(TOO_DEEP)
    return Message(value, outer.budget, outer.depth + 1)


def _weight_names(graph: Message, number: int) -> Iterator[str]:
    for tensor in graph.all(number):
        values = tensor if number == 5 else tensor.one(1)
        if values is not None:
            yield values.text(8)


def _check_inputs(graph: Message, weights: set[str]) -> None:
    for value in graph.all(11):
        name = value.text(1)
        if name in weights:
            continue
        kind = _tensor_kind(value)
        if kind is None or not _is_tensor(value):
            raise FileRejected(
                f"The input '{shown(name)}' is no tensor but a list or a map, which cannot be asked for here. "
                "Export the model with tensors as inputs."
            )
        if not kind.has(2):
            raise FileRejected(
                f"The file does not say how many dimensions the input '{shown(name)}' has. Export the model with a "
                "shape; its sizes may be free."
            )


def _checked_outputs(graph: Message) -> int:
    """The number of outputs; they need not be tensors."""
    count = 0
    for value in graph.all(12):
        value.text(1)
        _is_tensor(value)
        count += 1
    return count


def _tensor_kind(value: Message) -> Message | None:
    """The dtype and shape of an input or output; None for a list or a map."""
    kind = value.one(2)
    return kind.one(1) if kind else None


def _is_tensor(value: Message) -> bool:
    """Raises FileRejected where its dtype or shape is damaged."""
    tensor = _tensor_kind(value)
    if tensor is None:
        return False
    shape = tensor.one(2)
    if tensor.integer(1) in _KINDS and shape is not None:
        for dimension in shape.all(1):
            dimension.integer(1)
    return True


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
