"""OpenVINO's IR: a description in XML and the weights in a .bin of the same name, together in one archive."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.parsers import expat

from inference.archives import is_archive, opened_archive
from inference.archives.openvino import PACK, model_pair
from inference.formats.facts import BEGINS_ANEW, FileFacts
from inference.formats.label_text import labels_beside
from inference.formats.openvino_layers import LAYER_TYPES
from inference.refusal import FileRejected, shown, size_words

MAX_XML_BYTES = 128 << 20
MAX_DEPTH = 64
MAX_ELEMENTS = 3_000_000
MAX_ATTRIBUTES = 64
OLDEST_VERSION = 10
CHUNK_BYTES = 1 << 20

# Element type (`element_type` of a layer or `precision` of a port) → bits of one number: first the types that inputs
# and outputs may have, then those used only inside a model.
_BITS = {
    "f64": 64, "f32": 32, "f16": 16, "bf16": 16, "i64": 64, "i32": 32, "i16": 16, "i8": 8,
    "u64": 64, "u32": 32, "u16": 16, "u8": 8, "boolean": 8, "bool": 8, "string": 0, "fp64": 64, "fp32": 32, "fp16": 16,
}  # fmt: skip
_SMALL_BITS = {"u1": 1, "u2": 2, "i4": 4, "u4": 4, "nf4": 4, "f8e4m3": 8, "f8e5m2": 8, "f8e8m0": 8, "f4e2m1": 4}

DAMAGED = "The OpenVINO description is damaged or was cut off. Save the model again and upload it whole."


@dataclass(slots=True)
class _Layer:
    """A layer of the outermost graph that is an input or an output; `precision` is that of its first port."""

    name: str
    type: str
    element_type: str = ""
    shape_text: str = ""
    precision: str | None = None


def inspect_openvino(path: Path) -> FileFacts:
    """Raises FileRejected for a lone description, weights outside of the .bin or layers that are not OpenVINO's own."""
    if not is_archive(path):
        raise FileRejected(f"This is the description of an OpenVINO model without its weights. {PACK}")
    with opened_archive(path) as archive:
        files = {entry.name: entry for entry in archive.entries}
        xml, weights = (files[name] for name in model_pair(files))
        if xml.size_bytes > MAX_XML_BYTES:
            raise FileRejected(f"The OpenVINO description has {size_words(xml.size_bytes)}, which no real model has.")
        text = io.BytesIO()
        archive.copy(xml, text)
        beside = labels_beside(archive, PurePosixPath(xml.name).parent)
    reading = _Reading(weights.size_bytes)
    reading.read(text.getbuffer())
    reading.check_ends()
    return FileFacts("openvino", reading.labels or beside, (BEGINS_ANEW,) if reading.remembers else ())


class _Reading:
    """Parses one description; keeps its inputs, outputs and labels, and whether calls leave state (`remembers`)."""

    def __init__(self, weights_bytes: int) -> None:
        self._weights_bytes = weights_bytes
        self._path: list[str] = []
        self._elements = 0
        self._layer: _Layer | None = None
        self._ends: list[_Layer] = []
        self.labels: tuple[str, ...] = ()
        self.remembers = False

    def read(self, raw: memoryview) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            for at in range(0, len(raw), CHUNK_BYTES):
                chunk = bytes(raw[at : at + CHUNK_BYTES])
                if b">" not in chunk:  # a tag of a megabyte, which expat would parse from its start again and again
                    raise FileRejected(DAMAGED)
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError):
            raise FileRejected(DAMAGED) from None

    def check_ends(self) -> None:
        """Raises FileRejected. Where the rank of an input is unknown, the engine checks the element types."""
        inputs = [layer for layer in self._ends if layer.type == "parameter"]
        outputs = [layer for layer in self._ends if layer.type == "result"]
        if not inputs or not outputs:
            raise FileRejected("The OpenVINO model has no input or no output. Save the model again.")
        if not any("..." in layer.shape_text for layer in inputs):
            for layer in (*inputs, *outputs):
                _check_kind(layer)

    def _doctype(self, *_: object) -> None:
        raise FileRejected(
            "The OpenVINO description declares a document type, which OpenVINO never writes and which is not read "
            "here. Save the model again with openvino.save_model."
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._path) >= MAX_DEPTH:
            raise FileRejected("The OpenVINO description is nested deeper than any real model. Save the model again.")
        if self._elements > MAX_ELEMENTS or (len(attributes) > MAX_ATTRIBUTES and tag != "data"):
            raise FileRejected("The OpenVINO description has more parts than any real model. Save the model again.")
        if not self._path:
            _check_root(tag, attributes)
        self._path.append(tag)
        if tag == "layer":
            self._start_layer(attributes)
        elif tag == "data" and self._path[-2:] == ["layer", "data"]:
            self._check_data(attributes)
        elif tag == "port" and self._layer is not None and len(self._path) == 5:
            if self._layer.precision is None:
                self._layer.precision = attributes.get("precision", "")
        elif self._path == ["net", "rt_info", "model_info", "labels"]:
            self.labels = tuple(attributes.get("value", "").split())

    def _start_layer(self, attributes: dict[str, str]) -> None:
        kind, name, opset = (attributes.get(key, "") for key in ("type", "name", "version"))
        _check_layer(kind, name, opset)
        self.remembers |= kind.casefold() == "readvalue"
        if self._path == ["net", "layers", "layer"] and kind.casefold() in ("parameter", "result"):
            self._layer = _Layer(name, kind.casefold())
            self._ends.append(self._layer)

    def _check_data(self, attributes: dict[str, str]) -> None:
        if "offset" in attributes or "size" in attributes:
            offset, size = _whole(attributes.get("offset", "")), _whole(attributes.get("size", ""))
            if offset + size > self._weights_bytes:
                raise FileRejected(
                    f"The description names weights up to byte {offset + size:,}, but the .bin has only "
                    f"{self._weights_bytes:,}. It belongs to another model or was cut off."
                )
            _check_size(attributes, size)
        if self._layer is not None and len(self._path) == 4:
            self._layer.element_type = attributes.get("element_type", "")
            self._layer.shape_text = attributes.get("shape", "")

    def _end(self, tag: str) -> None:
        if tag == "layer" and self._path == ["net", "layers", "layer"]:
            self._layer = None
        self._path.pop()


def _check_root(tag: str, attributes: dict[str, str]) -> None:
    version = attributes.get("version", "")
    if tag != "net" or not version.isdecimal() or len(version) > 3:
        raise FileRejected(DAMAGED)
    if int(version) < OLDEST_VERSION:
        raise FileRejected(
            f"The OpenVINO description has version {version}, which OpenVINO no longer reads. Convert the original "
            "model again."
        )


def _check_layer(kind: str, name: str, opset: str) -> None:
    is_own = re.fullmatch(r"opset([1-9]|[12]\d)", opset) or (opset == "type_relaxed_opset")
    if not is_own:
        raise FileRejected(
            f"The layer '{shown(name)}' of the type '{shown(kind)}' comes from the extension '{shown(opset)}', whose "
            "program is not in the file. Convert the model with OpenVINO's own operations."
        )
    if kind.casefold() not in LAYER_TYPES:
        raise FileRejected(
            f"The layer '{shown(name)}' is of the type '{shown(kind)}', which is not one of OpenVINO's plain "
            "calculations. Convert the model with OpenVINO's own operations."
        )


def _check_size(attributes: dict[str, str], size: int) -> None:
    """Raises FileRejected for a constant that declares more numbers than it has bytes for: reads would pass its end."""
    kind = attributes.get("element_type", "").casefold()
    bits = _BITS.get(kind, _SMALL_BITS.get(kind, 0))
    sizes = [_whole(part) for part in attributes.get("shape", "").split(",") if part.strip()]
    if len(sizes) > 32 or (bits and math.prod(sizes) * bits > size * 8):
        raise FileRejected(DAMAGED)


def _whole(text: str) -> int:
    text = text.strip()
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise FileRejected(DAMAGED)
    return int(text)


def _check_kind(layer: _Layer) -> None:
    if (layer.element_type or layer.precision or "").casefold() not in _BITS:
        raise FileRejected(
            f"'{shown(layer.name)}' holds numbers of a kind that cannot be sent or shown here. Convert the model with "
            "float inputs and outputs."
        )
