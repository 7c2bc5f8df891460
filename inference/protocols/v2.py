"""V2 / Open Inference Protocol: turns a request into a model's input, and its outputs into the response.

Requests follow kserve/open-inference-protocol, inference_rest.md, and the extensions of the server that tritonclient
was written for: binary tensors, raw bodies, classification. Every error in a request is a 4xx.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from inference import tensors, texts
from inference.errors import BadInput, TooLarge, ValidationFailed
from inference.postprocessing import activated
from inference.protocols import json_text, v2_binary, v2_classification
from inference.protocols.answer import Answer
from inference.protocols.datatypes import DTYPES, datatype_of
from inference.protocols.v2_metadata import takes_batches
from inference.runner.config import MOST_PICTURES
from inference.served import ModelInput, Pictures, Served, Tensors
from inference.signature import TensorSpec
from inference.wire import dtype_name

Array = np.ndarray[Any, Any]
LENGTH_HEADER = b"inference-header-content-length"
_MOST_ELEMENTS = 2**31
_RESERVED = "triton_"
_SHARED_MEMORY = "shared_memory_"
NO_SHARED_MEMORY = "Shared memory is not offered. Send inputs and take outputs in the bodies."


@dataclass(frozen=True, slots=True)
class WantedOutput:
    name: str
    is_binary: bool
    classes: int
    """How many classes to return as texts; 0: return the tensor itself."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    model_input: ModelInput
    outputs: tuple[WantedOutput, ...]
    id: str | None = None
    timeout_s: float | None = None


# ---- the request


def read_request(body: bytes, header_length: str | None, served: Served) -> InferRequest:
    """Parse a request. `header_length` is the header Inference-Header-Content-Length: 0 means a raw body."""
    if header_length is None:
        return _read_parts(json_text.read_object(body), memoryview(b""), served)
    if not header_length.isascii() or not header_length.isdigit() or len(header_length) > 12:
        raise ValidationFailed("Inference-Header-Content-Length is a whole number, the length of the JSON in bytes.")
    length = int(header_length)
    if length > len(body):
        raise ValidationFailed(f"Inference-Header-Content-Length is {length}, the whole body has {len(body)} bytes.")
    view = memoryview(body)
    if length == 0:
        return _read_raw(view, served)
    return _read_parts(json_text.read_object(view[:length]), view[length:], served)


def _read_parts(header: Mapping[str, Any], rest: memoryview, served: Served) -> InferRequest:
    request_id = header.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise ValidationFailed("id is a text.")
    parameters = _parameters(header)
    given = header.get("inputs")
    if not isinstance(given, list) or not given:
        raise ValidationFailed("inputs is a list with at least one input.")
    reader = _InputReader(served, rest)
    for item in given:
        reader.read(item)
    return InferRequest(reader.model_input(), _outputs(header, parameters, served), request_id, _timeout_s(parameters))


def _parameters(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise ValidationFailed("parameters is an object.")
    for name, value in parameters.items():
        if name.startswith(_RESERVED):
            raise ValidationFailed(f"Parameters that begin with {_RESERVED} are reserved.")
        if name.startswith(_SHARED_MEMORY):
            raise ValidationFailed(NO_SHARED_MEMORY)
        if not isinstance(value, str | int | float | bool):
            raise ValidationFailed(f"The parameter {name[:50]} is a text, a number, true or false.")
    return parameters


def _timeout_s(parameters: Mapping[str, Any]) -> float | None:
    """The parameter `timeout`, which is in microseconds."""
    timeout = parameters.get("timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout <= 0:
        return None
    return max(timeout / 1e6, 0.001)


def _outputs(header: Mapping[str, Any], parameters: Mapping[str, Any], served: Served) -> tuple[WantedOutput, ...]:
    are_binary = _flag(parameters, "binary_data_output", default=False)
    names = [spec.name for spec in served.signature.outputs]
    wanted = header.get("outputs")
    if wanted is None or wanted == []:
        return tuple(WantedOutput(name, are_binary, 0) for name in names)
    if not isinstance(wanted, list):
        raise ValidationFailed("outputs is a list.")
    outputs: list[WantedOutput] = []
    for item in wanted:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str):
            raise ValidationFailed("Each output has a name.")
        if name not in names:
            raise ValidationFailed(f"unexpected inference output '{name[:100]}' for model '{served.model}'")
        if any(name == known.name for known in outputs):
            raise ValidationFailed(f"The output {name} is asked for twice.")
        own = _parameters(item)
        count = own.get("classification", 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValidationFailed("classification is a whole number from 1.")
        count = count if "classification" in own else 0
        outputs.append(WantedOutput(name, _flag(own, "binary_data", default=are_binary), count))
    return tuple(outputs)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ValidationFailed(f"{name} is true or false.")
    return value


class _InputReader:
    """Reads the inputs of one request in order; binary ones take their bytes from the front of `rest`."""

    def __init__(self, served: Served, rest: memoryview) -> None:
        self._served = served
        self._specs = {spec.name: spec for spec in served.signature.inputs}
        self._rest = rest
        self._arrays: dict[str, Array] = {}
        self._pictures: list[bytes | memoryview] | None = None

    def read(self, item: Any) -> None:
        if not isinstance(item, dict) or not isinstance(name := item.get("name"), str):
            raise ValidationFailed("Each input is an object with name, shape and datatype.")
        spec = self._specs.get(name)
        if spec is None:
            raise ValidationFailed(f"unexpected inference input '{name[:100]}' for model '{self._served.model}'")
        if name in self._arrays or self._pictures is not None:
            raise ValidationFailed(f"The input {name} comes twice.")
        shape, datatype = _shape(item, name), item.get("datatype")
        is_of_pictures = datatype == "BYTES" and self._served.takes_pictures
        if is_of_pictures and math.prod(shape) == 1 and self._is_rest(item):
            self._pictures, self._rest = [self._rest], self._rest[:0]
            return
        binary = self._binary(item, name)
        if is_of_pictures:
            self._pictures = _pictures(item.get("data"), binary, shape, name)
        elif not isinstance(datatype, str) or (dtype := DTYPES.get(datatype)) is None:
            raise ValidationFailed(f"The input {name} takes the datatype {datatype_of(spec.dtype)}.")
        elif dtype != spec.dtype:
            raise ValidationFailed(f"The input {name} takes {datatype_of(spec.dtype)}; the request says {datatype}.")
        elif binary is not None:
            self._arrays[name] = _as_model_takes(v2_binary.read_tensor(binary, dtype, shape, name), spec)
        else:
            self._arrays[name] = _as_model_takes(_from_lists(item["data"], spec, shape), spec)

    def _is_rest(self, item: Mapping[str, Any]) -> bool:
        """Whether the input is the rest of the body, one plain picture: OVMS takes a lone one without its size."""
        return len(self._rest) > 0 and "data" not in item and "binary_data_size" not in _parameters(item)

    def _binary(self, item: Mapping[str, Any], name: str) -> memoryview | None:
        """The bytes of a binary input, None for one in JSON."""
        parameters = _parameters(item)
        if ("binary_data_size" in parameters) == ("data" in item):
            raise ValidationFailed(f"The input {name} has either data or the parameter binary_data_size.")
        if "data" in item:
            return None
        size = parameters["binary_data_size"]
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(self._rest):
            raise ValidationFailed(f"binary_data_size of the input {name} is no number of bytes that the body has.")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def model_input(self) -> ModelInput:
        if len(self._rest):
            raise ValidationFailed(f"{len(self._rest)} bytes are left over after the inputs.")
        if self._pictures is not None:
            return Pictures(self._pictures)
        return Tensors(tensors.conform(self._arrays, self._served.signature))


def _shape(item: Mapping[str, Any], name: str) -> list[int]:
    shape = item.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValidationFailed(f"The shape of the input {name} is a list of whole numbers from 0.")
    if len(shape) > tensors.MOST_AXES:
        raise ValidationFailed(f"The shape of the input {name} has more than {tensors.MOST_AXES} axes.")
    if max(shape, default=0) >= _MOST_ELEMENTS or math.prod(shape) >= _MOST_ELEMENTS:
        raise ValidationFailed(f"The shape of the input {name} means {_MOST_ELEMENTS:,} values or more.")
    return shape


def _as_model_takes(array: Array, spec: TensorSpec) -> Array:
    """Drop an extra last axis of size 1 from texts: MLServer's codec writes N texts as [N, 1]."""
    has_more = spec.dtype == texts.DTYPE and array.ndim == len(spec.shape) + 1 and array.shape[-1] == 1
    return array.reshape(array.shape[:-1]) if has_more else array


def _from_lists(data: Any, spec: TensorSpec, shape: Sequence[int]) -> Array:
    """An array from nested or flat, row-major lists. Nested lists end at an axis of size 0: [1, 0, 4] is [[]]."""
    if not isinstance(data, list):
        raise ValidationFailed(f"The data of the input {spec.name} is a list.")
    array = tensors.from_lists(data, spec)
    told = shape if array.size else shape[: array.ndim]
    is_alike = array.ndim == 1 or list(array.shape) == told or _are_alike(array.shape, shape)
    if array.size != math.prod(shape) or not is_alike:
        raise ValidationFailed(
            f"The data of the input {spec.name} has the shape {list(array.shape)}, the request says {list(shape)}."
        )
    return array.reshape(shape)


def _are_alike(nested: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether one only joins axes of the other, as [2, 64] those of [2, 8, 8, 1]. [2, 3] for [3, 2] is a mistake."""
    ends, wanted = ({*accumulate(sizes, mul)} - {1} for sizes in (nested, shape))
    return 0 not in ends and (ends <= wanted or wanted <= ends)


def _pictures(data: Any, binary: memoryview | None, shape: Sequence[int], name: str) -> list[bytes | memoryview]:
    """Encoded pictures: elements of a binary BYTES tensor, or base64 strings in JSON."""
    count = math.prod(shape)
    if count > MOST_PICTURES:
        raise TooLarge.of_pictures(MOST_PICTURES)
    found: list[bytes | memoryview] = []
    if binary is not None:
        found += v2_binary.read_pictures(binary, MOST_PICTURES, name)
    else:
        found += [_from_base64(text, name) for text in _flat(data, name)]
    if not found or len(found) != count:
        raise ValidationFailed(f"The input {name} holds {len(found)} pictures, its shape says {count}.")
    return found


def _flat(data: Any, name: str) -> list[Any]:
    """The elements of a possibly nested list, such as [[a], [b]]."""
    if not isinstance(data, list):
        raise ValidationFailed(f"The data of the input {name} is a list.")
    elements: list[Any] = data
    while elements and all(isinstance(item, list) for item in elements):
        elements = [element for item in elements for element in item][: MOST_PICTURES + 1]
    return elements


def _from_base64(text: Any, name: str) -> bytes:
    try:
        if not isinstance(text, str):
            raise ValueError
        return texts.from_base64(text.partition(",")[2] if text.startswith("data:") else text)
    except ValueError:
        raise ValidationFailed(f"The input {name} takes images: texts in base64, or BYTES in binary.") from None


def _read_raw(body: memoryview, served: Served) -> InferRequest:
    """A body of one encoded picture, one text, or one tensor with batch size 1. All outputs are binary."""
    outputs = tuple(WantedOutput(spec.name, True, 0) for spec in served.signature.outputs)
    if len(served.signature.inputs) != 1:
        raise ValidationFailed("A raw body needs a model with one input.")
    if served.takes_pictures:
        if not len(body):
            raise ValidationFailed("The body is empty. Send one encoded picture.")
        return InferRequest(Pictures([body]), outputs)
    spec = served.signature.inputs[0]
    if spec.dtype == texts.DTYPE:
        return InferRequest(Tensors(tensors.conform({spec.name: _one_text(body, spec)}, served.signature)), outputs)
    shape = [1 if n is None and i == 0 else n for i, n in enumerate(spec.shape)]
    if shape.count(None) > 1:
        raise ValidationFailed(f"The input {spec.name} has several free dimensions. Say its shape, in JSON.")
    known = math.prod(n for n in shape if n is not None) * np.dtype(spec.dtype).itemsize
    if None in shape and (not known or len(body) % known):
        raise ValidationFailed(f"The body has {len(body)} bytes; the input {spec.name} needs a multiple of {known}.")
    sizes = [len(body) // known if n is None else n for n in shape]
    array = v2_binary.read_tensor(body, spec.dtype, sizes, spec.name)
    return InferRequest(Tensors(tensors.conform({spec.name: array}, served.signature)), outputs)


def _one_text(body: memoryview, spec: TensorSpec) -> Array:
    shape = [1 if size is None else size for size in spec.shape]
    if math.prod(shape) != 1:
        raise ValidationFailed(f"The input {spec.name} takes several texts. Say their shape, in JSON.")
    return texts.filled(shape, bytes(body))


# ---- the answer


def write_answer(request: InferRequest, served: Served, outputs: Mapping[str, Array]) -> Answer:
    """JSON, followed by the binary outputs, if any."""
    described: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    for wanted in request.outputs:
        array = outputs.get(wanted.name)
        if array is None:
            raise BadInput(f"The model did not answer the output {wanted.name}.")
        if served.answer is not None and wanted.name == served.answer.name:
            array = activated(array, served.answer, served.postprocessing)
        described.append(_describe(wanted, array, served, buffers))
    head: dict[str, Any] = {"model_name": served.model, "model_version": str(served.number)}
    if request.id is not None:
        head["id"] = request.id
    head["outputs"] = described
    text = json_text.write(head)
    if not buffers:
        return Answer(200, text)
    headers = ((LENGTH_HEADER, str(len(text)).encode()),)
    return Answer(200, b"".join([text, *buffers]), b"application/octet-stream", headers)


def _describe(wanted: WantedOutput, array: Array, served: Served, buffers: list[bytes]) -> dict[str, Any]:
    """The JSON description of one output; if it is binary, its bytes are appended to `buffers`."""
    if wanted.classes:
        labels = served.labels if served.answer is None or wanted.name == served.answer.name else ()
        if array.ndim == 1 and takes_batches(served):  # one number per example, not one row of classes
            array = array[:, None]
        best, shape = v2_classification.classes(array, wanted.classes, labels, wanted.name)
        described: dict[str, Any] = {"name": wanted.name, "datatype": "BYTES", "shape": shape}
        data = texts.pack(best) if wanted.is_binary else b""
        values: Any = None if wanted.is_binary else [text.decode() for text in best]
    else:
        described = {"name": wanted.name, "datatype": datatype_of(dtype_name(array.dtype)), "shape": array.shape}
        data = v2_binary.write_tensor(array) if wanted.is_binary else b""
        values = None if wanted.is_binary else json_text.numbers(array.reshape(-1))
    if wanted.is_binary:
        buffers.append(data)
        described["parameters"] = {"binary_data_size": len(data)}
    else:
        described["data"] = values
    return described
