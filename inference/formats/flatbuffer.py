"""Reads FlatBuffers (https://flatbuffers.dev/internals/) table by table, every offset checked, without a library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from inference.formats.protobuf import DAMAGED, MAX_TEXT_BYTES, TOO_MANY, Budget
from inference.refusal import FileRejected

MAX_NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """One table. Fields are numbered from 0 in the order of the schema. Every method raises FileRejected where an
    offset points outside the file or a limit is passed."""

    raw: memoryview
    at: int
    budget: Budget

    @classmethod
    def root(cls, raw: memoryview, budget: Budget) -> Table:
        return cls(raw, _unpack(raw, "I", 0), budget)

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def number(self, field: int, code: str, default: int = 0) -> int:
        """`code` is a format character of the struct module."""
        place = self._place(field)
        return default if place is None else _unpack(self.raw, code, place)

    def numbers(self, field: int, code: str) -> tuple[int, ...]:
        start, count = self._vector(field, struct.calcsize(f"<{code}"))
        if count > MAX_NUMBERS:
            raise FileRejected(TOO_MANY)
        return struct.unpack_from(f"<{count}{code}", self.raw, start) if count else ()

    def content(self, field: int) -> memoryview:
        start, count = self._vector(field, 1)
        return self.raw[start : start + count]

    def text(self, field: int) -> str:
        raw = self.content(field)
        if len(raw) > MAX_TEXT_BYTES:
            raise FileRejected(TOO_MANY)
        return bytes(raw).decode("utf-8", "replace")

    def count(self, field: int) -> int:
        return self._vector(field, 4)[1]

    def table(self, field: int) -> Table | None:
        place = self._place(field)
        return None if place is None else Table(self.raw, place + _unpack(self.raw, "I", place), self.budget)

    def tables(self, field: int) -> Iterator[Table]:
        start, count = self._vector(field, 4)
        for place in range(start, start + 4 * count, 4):
            self.budget.spend()
            yield Table(self.raw, place + _unpack(self.raw, "I", place), self.budget)

    def _place(self, field: int) -> int | None:
        """The offset of the field, found through the table's vtable; None where it has its default."""
        self.budget.spend()
        vtable = self.at - _unpack(self.raw, "i", self.at)
        size = _unpack(self.raw, "H", vtable)
        entry = 4 + 2 * field
        if entry + 2 > size:
            return None
        offset = _unpack(self.raw, "H", vtable + entry)
        return self.at + offset if offset else None

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + _unpack(self.raw, "I", place)
        count = _unpack(self.raw, "I", start)
        if start + 4 + count * item_bytes > len(self.raw):
            raise FileRejected(DAMAGED)
        return start + 4, count


def _unpack(raw: memoryview, code: str, at: int) -> int:
    if not 0 <= at <= len(raw) - struct.calcsize(f"<{code}"):
        raise FileRejected(DAMAGED)
    value: int = struct.unpack_from(f"<{code}", raw, at)[0]
    return value
