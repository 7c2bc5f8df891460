"""Reads protobuf's wire format field by field, without copying and without a schema's library.

Source: https://protobuf.dev/programming-guides/encoding/. Contents that are not asked for (weights) are skipped.
"""

from __future__ import annotations

import itertools
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from inference.archives import Archive, Entry
from inference.refusal import FileRejected

# A graph of 10,000 nodes has about 300,000 fields; three million take a few seconds to walk.
MAX_FIELDS = 3_000_000
MAX_DEPTH = 64
MAX_BYTES = 2 << 30  # protobuf's own limit
MAX_TEXT_BYTES = 1 << 20

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}

DAMAGED = "The file is damaged or was cut off. Save the model again and upload the whole file."
TOO_MANY = "The file has more parts than any real model. Save the model again and upload the new file."
TOO_DEEP = "The file is nested deeper than any real model. Save the model again and upload the new file."


class Budget:
    """How many fields of one file may still be read."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise FileRejected(TOO_MANY)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Every method that reads raises FileRejected where the bytes are no protobuf or a limit is passed."""

    raw: memoryview
    budget: Budget
    depth: int = 0

    def fields(self) -> Iterator[tuple[int, int, int | memoryview]]:
        """(number, wire type, value): an unsigned integer for VARINT, else the bytes."""
        raw, at, end = self.raw, 0, len(self.raw)
        while at < end:
            self.budget.spend()
            tag, at = _varint(raw, at)
            number, wire = tag >> 3, tag & 7
            if not 1 <= number < 1 << 29:
                raise FileRejected(DAMAGED)
            if wire == VARINT:
                value, at = _varint(raw, at)
                yield number, wire, value
                continue
            size = _FIXED_SIZES.get(wire, -1)
            if wire == BYTES:
                size, at = _varint(raw, at)
            if not 0 <= size <= end - at:  # also refuses groups, which no model format uses
                raise FileRejected(DAMAGED)
            yield number, wire, raw[at : at + size]
            at += size

    def all(self, number: int) -> Iterator[Message]:
        """The messages of a repeated field."""
        if self.depth >= MAX_DEPTH:
            raise FileRejected(TOO_DEEP)
        for found, wire, value in self.fields():
            if found == number and wire == BYTES:
                assert isinstance(value, memoryview)
                yield Message(value, self.budget, self.depth + 1)

    def one(self, number: int) -> Message | None:
        """The only message of this number, or None. Raises FileRejected for two: protobuf readers merge them into one
        that was never checked, and no program writes such a file."""
        found = list(itertools.islice(self.all(number), 2))
        if len(found) > 1:
            raise FileRejected(DAMAGED)
        return found[0] if found else None

    def integer(self, number: int, default: int = 0) -> int:
        """An int32, int64, enum or bool; negative numbers are in two's complement of 64 bits."""
        for found, wire, value in self.fields():
            if found == number and wire == VARINT:
                assert isinstance(value, int)
                default = signed(value)
        return default

    def integers(self, number: int) -> Iterator[int]:
        """A repeated integer, packed or not."""
        for found, wire, value in self.fields():
            if found != number:
                continue
            if isinstance(value, int):
                yield signed(value)
            elif wire == BYTES:
                at = 0
                while at < len(value):
                    self.budget.spend()
                    item, at = _varint(value, at)
                    yield signed(item)

    def text(self, number: int, default: str = "") -> str:
        for item in self.texts(number):
            default = item
        return default

    def texts(self, number: int) -> Iterator[str]:
        for found, wire, value in self.fields():
            if found == number and wire == BYTES:
                assert isinstance(value, memoryview)
                yield as_text(value)

    def has(self, number: int) -> bool:
        return any(found == number for found, _, _ in self.fields())


def signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def as_text(raw: memoryview) -> str:
    if len(raw) > MAX_TEXT_BYTES:
        raise FileRejected(TOO_MANY)
    return bytes(raw).decode("utf-8", "replace")


@contextmanager
def opened_bytes(path: Path) -> Iterator[memoryview]:
    """The content of a file, memory-mapped: only the pages that are read take memory."""
    if path.stat().st_size == 0:
        raise FileRejected(DAMAGED)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # Not closed here: a propagating exception may still hold views of it. It is freed with the last view.
    yield memoryview(mapped)


@contextmanager
def opened_entry(archive: Archive, entry: Entry) -> Iterator[memoryview]:
    """The content of a message in an archive, unpacked to a temporary file and mapped. Raises FileRejected where it is
    larger than protobuf allows."""
    if entry.size_bytes > MAX_BYTES:
        raise FileRejected(DAMAGED)
    with tempfile.NamedTemporaryFile() as copy:
        archive.copy(entry, cast(IO[bytes], copy))
        copy.flush()
        with opened_bytes(Path(copy.name)) as raw:
            yield raw


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = 0
    try:
        for shift in range(0, 70, 7):
            byte = raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
    except IndexError:
        pass
    raise FileRejected(DAMAGED)
