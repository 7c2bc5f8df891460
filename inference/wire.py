"""Frames on the runner's socket: a length-prefixed JSON header and raw bytes. No pickle, no class names.

    magic 4 s · header length u32 · body length u64 (big endian) · header (JSON object, UTF-8) · body

Lengths are checked against the limits before anything is allocated: the other side is untrusted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from inference import texts

PREFIX = struct.Struct("!4sIQ")
MOST_HEADER_BYTES = 4 * 2**20
MOST_BODY_BYTES = 2**30
_MAGIC = b"MPF1"

Buffer = bytes | bytearray | memoryview
"""A memoryview is one of single bytes, so `len` is its size."""


class WireError(Exception):
    """The other side violates the protocol or its limits. The connection cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Frame:
    header: dict[str, Any]
    body: memoryview


def encode(header: Mapping[str, Any], body: Sequence[Buffer] = ()) -> list[Buffer]:
    """The frame as buffers to write one after the other; the body's buffers are not copied."""
    head = orjson.dumps(header)
    return [PREFIX.pack(_MAGIC, len(head), sum(map(len, body))) + head, *body]


def joined(header: Mapping[str, Any], body: Sequence[Buffer] = ()) -> bytes:
    """The frame as one buffer: one write, one system call."""
    return b"".join(encode(header, body))


class Decoder:
    """Decodes frames from a stream that arrives in pieces. A frame that arrives in one piece is not copied."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = PREFIX.size

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Raises WireError; the stream cannot be used any more then."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data, self._rest = bytes(self._rest), bytearray()
        frames, at, view = [], 0, memoryview(data)
        while (end := self._end(view, at)) <= len(view):
            head = at + PREFIX.size
            body = head + PREFIX.unpack_from(view, at)[1]
            frames.append(Frame(read_header(view[head:body]), view[body:end]))
            at = end
        self._needed = end - at
        if at < len(view):
            self._rest = bytearray(view[at:])
        return frames

    def _end(self, view: memoryview, at: int) -> int:
        """Where the frame at `at` ends, or its prefix while that is incomplete."""
        if len(view) - at < PREFIX.size:
            return at + PREFIX.size
        header_bytes, body_bytes = read_sizes(view[at : at + PREFIX.size])
        return at + PREFIX.size + header_bytes + body_bytes


def read_sizes(prefix: Buffer) -> tuple[int, int]:
    """Bytes of header and body that follow. Raises WireError if it is no frame, or one beyond the limits."""
    magic, header_bytes, body_bytes = PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise WireError("not a frame")
    if header_bytes > MOST_HEADER_BYTES or body_bytes > MOST_BODY_BYTES:
        raise WireError(f"a frame of {header_bytes} + {body_bytes} bytes is too large")
    return header_bytes, body_bytes


def read_header(head: Buffer) -> dict[str, Any]:
    """Raises WireError if it is not a JSON object."""
    try:
        header = orjson.loads(head)
    except orjson.JSONDecodeError:
        raise WireError("the header is not JSON") from None
    if not isinstance(header, dict):
        raise WireError("the header is not an object")
    return header


@lru_cache(maxsize=64)
def dtype_name(dtype: np.dtype[Any]) -> str:
    """numpy's name, cached because numpy takes 4 µs to build it each time; "string" for objects."""
    return texts.DTYPE if dtype.kind == "O" else str(dtype.name)


def describe_tensors(tensors: Mapping[str, np.ndarray[Any, Any]]) -> tuple[list[dict[str, Any]], list[Buffer]]:
    """The tensors' descriptions for a header, and their bytes in the same order (C order, and the host's byte order:
    both ends are on one host). Raises WireError for more texts or bytes than a frame may carry, for which the reader
    would drop the connection. Raises what numpy raises for other kinds of tensors."""
    described: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    for name, tensor in tensors.items():
        array = tensor if tensor.flags.c_contiguous else np.ascontiguousarray(tensor)  # else () would become (1,)
        buffer = _packed(name, array) if array.dtype.kind == "O" else array.reshape(-1).view(np.uint8).data
        described.append(
            {"name": name, "dtype": dtype_name(array.dtype), "shape": list(array.shape), "bytes": len(buffer)}
        )
        buffers.append(buffer)
    check_size(sum(map(len, buffers)))
    return described, buffers


def check_size(size: int) -> None:
    """Raises WireError for tensors of more bytes than a frame carries."""
    if size > MOST_BODY_BYTES:
        raise WireError(f"the tensors take {size:,} bytes, and at most {MOST_BODY_BYTES:,} are sent")


def _packed(name: str, array: np.ndarray[Any, Any]) -> bytes:
    if array.size > texts.MOST_TEXTS:
        raise WireError(f"{name} holds {array.size:,} texts, and at most {texts.MOST_TEXTS:,} are sent")
    return texts.pack(array.flat)


_NUMBERS = frozenset(
    {"bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}
)
ALLOWED_DTYPES = _NUMBERS | {texts.DTYPE}


def read_tensors(described: Iterable[Mapping[str, Any]], body: memoryview) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a frame; numbers are views of its body. Raises WireError if sizes and bytes disagree."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    at = 0
    try:
        for item in described:
            name, dtype, shape, size = str(item["name"]), str(item["dtype"]), item["shape"], int(item["bytes"])
            if dtype not in ALLOWED_DTYPES or size < 0 or at + size > len(body):
                raise WireError("a tensor does not fit its frame")
            tensors[name] = _tensor(body[at : at + size], dtype, list(map(int, shape)))
            at += size
    except (KeyError, TypeError, ValueError):
        raise WireError("a tensor does not fit its description") from None
    if at != len(body):
        raise WireError("the frame holds more than its tensors")
    return tensors


def _tensor(data: memoryview, dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:
    if dtype == texts.DTYPE:
        return texts.unpack(data, shape)
    return np.frombuffer(data, dtype).reshape(shape)


def split_body(sizes: Sequence[int], body: memoryview) -> list[memoryview]:
    """The body cut into parts of the given sizes in bytes. Raises WireError if they do not add up to it."""
    if any(size < 0 for size in sizes) or sum(sizes) != len(body):
        raise WireError("the parts do not add up to the body")
    parts, at = [], 0
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    return parts
