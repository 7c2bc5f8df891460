"""TensorFlow Lite models: a FlatBuffer (schema.fbs of TensorFlow Lite), perhaps with a zip of labels behind it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from inference.formats.facts import BEGINS_ANEW, FileFacts
from inference.formats.flatbuffer import Table
from inference.formats.label_text import LABEL_FILES, MAX_LABEL_TEXT, labels_of_text
from inference.formats.protobuf import DAMAGED, Budget, opened_bytes
from inference.refusal import FileRejected, listed, shown

DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16", 8: "complex64",
    9: "int8", 10: "float64", 11: "complex128", 12: "uint64", 15: "uint32", 16: "uint16", 18: "bfloat16",
}  # fmt: skip
QUANTIZED = frozenset({"int8", "uint8", "int16"})
# BuiltinOperator. Codes above 127 are stored in a wider field beside the old one; the larger value counts.
_CUSTOM = 32
_DEFAULT_SIGNATURE = "serving_default"
_LOOPS = frozenset({119, 200})  # WHILE, STABLEHLO_WHILE
_CALL_ONCE, _ASSIGN_VARIABLE = 129, 144
_QUANTISED = "The model is quantised: its numbers are integers inside, floats are converted on the way."
CUSTOM_OPS = frozenset({"TFLite_Detection_PostProcess"})
MAX_SUBGRAPHS = 1000
MAX_RANK = 8


def inspect_tflite(path: Path) -> FileFacts:
    """Raises FileRejected for operations that are not built in and offsets that point outside the file."""
    with opened_bytes(path) as raw:
        if bytes(raw[4:8]) != b"TFL3":
            raise FileRejected(DAMAGED)
        model = Table.root(raw, Budget())
        _check_operations(model)
        graphs = list(model.tables(2))
        if not graphs or len(graphs) > MAX_SUBGRAPHS:
            raise FileRejected(DAMAGED)
        buffers = _checked_buffers(model)
        for graph in graphs:
            _check_graph(graph, model.count(1), buffers)
        _check_signatures(model)
        is_quantized = _check_ends(model, graphs[0])
        named_as_labels = _associated_labels(path, len(raw))
        notes = ((_QUANTISED,) if is_quantized else ()) + ((BEGINS_ANEW,) if _remembers(model, graphs) else ())
    return FileFacts("tflite", named_as_labels, notes)


def has_loop(path: Path) -> bool:
    """Whether the file has a loop, whose number of rounds depends on values."""
    with opened_bytes(path) as raw:
        return any(_builtin(code) in _LOOPS for code in Table.root(raw, Budget()).tables(1))


def remembers(path: Path) -> bool:
    """Whether a call writes variables that the next call reads; an interpreter cannot reset them."""
    with opened_bytes(path) as raw:
        model = Table.root(raw, Budget())
        return _remembers(model, list(model.tables(2)))


def _remembers(model: Table, graphs: list[Table]) -> bool:
    """Graphs that initialise variables do not count, because they run only once: weights can be variables too."""
    codes = [_builtin(code) for code in model.tables(1)]
    if _ASSIGN_VARIABLE not in codes:
        return False
    called_once, writing = set(), set()
    for number, graph in enumerate(graphs):
        for operator in graph.tables(3):
            code, options = codes[operator.number(0, "I")], operator.table(4)
            if code == _ASSIGN_VARIABLE:
                writing.add(number)
            elif code == _CALL_ONCE and options is not None:
                called_once.add(options.number(0, "i"))
    return bool(writing - called_once)


def _builtin(code: Table) -> int:
    return max(code.number(3, "i"), code.number(0, "b"))


def _check_operations(model: Table) -> None:
    for code in model.tables(1):
        if _builtin(code) != _CUSTOM:
            continue
        name = code.text(1)
        if name.startswith("Flex"):
            raise FileRejected(
                f"The model uses TensorFlow's own operation '{shown(name[4:])}' inside TensorFlow Lite, which is not "
                "run here. Convert it with TensorFlow Lite's built-in operations only, or upload the model that it was "
                "made from."
            )
        if name not in CUSTOM_OPS:
            raise FileRejected(
                f"The model uses the custom operation '{shown(name)}', whose program is not in the file. Convert it "
                "with TensorFlow Lite's built-in operations only."
            )


def _checked_buffers(model: Table) -> int:
    """The number of buffers. Raises FileRejected where one is not inside the file."""
    total = 0
    for buffer in model.tables(4):
        buffer.content(0)
        offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
        if offset > 1 and offset + size > len(model.raw):
            raise FileRejected(DAMAGED)
        total += 1
    return total


def _check_graph(graph: Table, operation_codes: int, buffers: int) -> None:
    """Raises FileRejected where the index of a tensor, an operation or a buffer is out of range."""
    tensors = graph.count(0)
    for tensor in graph.tables(0):
        if not 0 <= tensor.number(2, "I") < max(buffers, 1):
            raise FileRejected(DAMAGED)
    for numbers in (graph.numbers(1, "i"), graph.numbers(2, "i")):
        if any(not 0 <= number < tensors for number in numbers):
            raise FileRejected(DAMAGED)
    for operator in graph.tables(3):
        if operator.number(0, "I") >= operation_codes:
            raise FileRejected(DAMAGED)
        for number in (*operator.numbers(1, "i"), *operator.numbers(2, "i")):
            if not -1 <= number < tensors:  # −1: an optional tensor that is left out
                raise FileRejected(DAMAGED)


def _check_ends(model: Table, graph: Table) -> bool:
    """Whether any input or output is quantised. Raises FileRejected."""
    tensors = list(graph.tables(0))
    names = _signature_names(model)
    is_quantized = False
    for side, field in enumerate((1, 2)):
        numbers = graph.numbers(field, "i")
        if not numbers:
            raise FileRejected("The model has no input or no output. Convert it again and upload the new file.")
        for number in numbers:
            is_quantized |= _is_quantized(tensors[number], names[side].get(number, ""))
    return is_quantized


def _check_signatures(model: Table) -> None:
    """Raises FileRejected where the signature that is meant, `serving_default` or the only one, may not be that of the
    first graph, the only one that engines run."""
    graphs = {one.text(2): one.number(4, "I") for one in model.tables(7)}
    if len(graphs) > 1 and any(graphs.values()) and graphs.get(_DEFAULT_SIGNATURE) != 0:
        raise FileRejected(
            f"The model has several signatures, {listed(sorted(graphs))}. Convert it with the one that is meant: "
            "signature_keys=['name'] in TFLiteConverter.from_saved_model."
        )


def _signature_names(model: Table) -> tuple[dict[int, str], dict[int, str]]:
    """Index of a tensor → its name in the signature that callers use, for inputs and for outputs."""
    signatures = [one for one in model.tables(7) if one.number(4, "I") == 0]
    if not signatures:
        return {}, {}
    chosen = next((one for one in signatures if one.text(2) == _DEFAULT_SIGNATURE), signatures[0])
    inputs, outputs = ({entry.number(1, "I"): entry.text(0) for entry in chosen.tables(field)} for field in (0, 1))
    return inputs, outputs


def _is_quantized(tensor: Table, name: str) -> bool:
    """Raises FileRejected where its dtype or shape cannot be served. `name` is the signature's, or ""."""
    stored = DTYPES.get(tensor.number(1, "b"))
    own = tensor.text(3)
    if stored is None:
        raise FileRejected(
            f"The tensor '{shown(name or own)}' holds numbers of a kind that cannot be sent or shown here. Convert the "
            "model with float inputs and outputs."
        )
    quantization = tensor.table(4)
    is_quantized = stored in QUANTIZED and quantization is not None and quantization.count(2) > 0
    _check_shape(tensor)
    return is_quantized


def _check_shape(tensor: Table) -> None:
    sizes = tensor.numbers(0, "i")
    tensor.numbers(7, "i")  # the shape signature, which marks free sizes; only the engine needs it
    if len(sizes) > MAX_RANK or any(size < 0 for size in sizes):
        raise FileRejected(DAMAGED)


def _associated_labels(path: Path, size_bytes: int) -> tuple[str, ...]:
    """Labels in the zip that the metadata writer appends (https://ai.google.dev/edge/litert/models/metadata): of the
    .txt files with "label" in their name or a usual name the one with a usual name, else the only one."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()[:100]}
            texts = [
                name
                for name in sizes
                if name.lower().endswith(".txt") and ("label" in name.lower() or name in LABEL_FILES)
            ]
            usual = [name for name in LABEL_FILES if name in texts]
            name = usual[0] if usual else texts[0] if len(texts) == 1 else ""
            if not name or sizes[name] > min(MAX_LABEL_TEXT, size_bytes * 20):
                return ()
            with archive.open(name) as entry:
                raw = entry.read(MAX_LABEL_TEXT)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        return ()
    return labels_of_text(raw.decode("utf-8", "replace"))
