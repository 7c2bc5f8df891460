"""Writes protobuf and FlatBuffers by hand, so that a test can make any file, good or bad, without an engine."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = int | bytes | str


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def pb(*fields: tuple[int, Value]) -> bytes:
    """A protobuf message of numbers (varints) and contents."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def entry(key: str, value: bytes) -> bytes:
    """An entry of a map from strings to messages."""
    return pb((1, key), (2, value))


@dataclass(frozen=True)
class Scalar:
    code: str
    value: int


@dataclass(frozen=True)
class Numbers:
    code: str
    values: Sequence[int]


Table = Mapping[int, object]


def flatbuffer(root: Table, identifier: bytes = b"TFL3") -> bytes:
    """A table is {field: Scalar | Numbers | text | content | table | list of tables}."""
    out = bytearray(4) + identifier
    _point(out, 0, _put(out, root))
    return bytes(out)


def _point(out: bytearray, place: int, target: int) -> None:
    out[place : place + 4] = struct.pack("<I", target - place)


def _put(out: bytearray, item: object) -> int:
    if isinstance(item, Mapping):
        return _put_table(out, item)
    out += bytes(-len(out) % 8)
    start = len(out)
    if isinstance(item, list):
        out += struct.pack("<I", len(item)) + bytes(4 * len(item))
        for i, one in enumerate(item):
            _point(out, start + 4 + 4 * i, _put(out, one))
    elif isinstance(item, Numbers):
        out += struct.pack(f"<I{len(item.values)}{item.code}", len(item.values), *item.values)
    else:
        raw = item.encode() if isinstance(item, str) else item
        assert isinstance(raw, bytes)
        out += struct.pack("<I", len(raw)) + raw + b"\0"
    return start


def _put_table(out: bytearray, table: Table) -> int:
    count = max(table, default=-1) + 1
    out += bytes(-len(out) % 8)
    vtable = len(out)
    size = 8 + 8 * len(table)
    offsets = {field: 8 + 8 * i for i, field in enumerate(sorted(table))}
    out += struct.pack("<HH", 4 + 2 * count, size)
    out += b"".join(struct.pack("<H", offsets.get(field, 0)) for field in range(count))
    out += bytes(-len(out) % 8)
    start = len(out)
    out += struct.pack("<i", start - vtable) + bytes(size - 4)
    for field, item in table.items():
        place = start + offsets[field]
        if isinstance(item, Scalar):
            raw = struct.pack(f"<{item.code}", item.value)
            out[place : place + len(raw)] = raw
        else:
            _point(out, place, _put(out, item))
    return start
