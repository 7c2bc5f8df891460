"""The memory of a device as a bar of percentages: models, other programs, free. What is too small in it is enlarged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_app.models import Instance
from models_app.pages.version_row import VersionRow
from models_app.pages.words import size_words

LENS_BELOW = 0.35
"""Where models take a smaller share of a device, their part is drawn once more, enlarged."""
_WIDE_PX, _NARROW_PX = 700, 320
_LETTER_PX, _MARGIN_PX = 7, 16
_LEAST_PERCENT = 7.5
"""Of a narrow bar these are 24 pixels, enough for a finger (WCAG 2.2, 2.5.8)."""


@dataclass(frozen=True, slots=True)
class Part:
    """`x` and `width` in per cent. `label`: the longest text that fits a wide bar; `needs_room`: not a narrow one."""

    x: float
    width: float
    kind: str
    title: str
    label: str = ""
    needs_room: bool = False
    hue: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True)
class Lens:
    """The models' part to scale, but for blocks that would be too thin to press."""

    upto: float
    parts: tuple[Part, ...]
    words: str


@dataclass(frozen=True, slots=True)
class DeviceBar:
    name: str
    total: str
    models: str
    other: str
    free: str
    free_x: float
    free_width: float
    parts: tuple[Part, ...]
    lens: Lens | None
    is_estimated: bool


@dataclass(frozen=True, slots=True)
class _Block:
    row: VersionRow
    size_bytes: int


def device_bar(device: Mapping[str, Any], held: Sequence[tuple[VersionRow, Instance]]) -> DeviceBar:
    """The bar of one of `Node.devices`; `held` are the instances that hold a slot, with the row of their version."""
    is_host = device["kind"] == "cpu"
    on_it = [(row, i) for row, i in held if is_host or i.device == device["id"]]
    sizes = [(row, i.memory_bytes if is_host else i.device_memory_bytes) for row, i in on_it]
    blocks = sorted((_Block(row, size) for row, size in sizes if size), key=lambda block: -block.size_bytes)
    total = max(1, int(device["memory_bytes"]))
    models = min(total, sum(block.size_bytes for block in blocks))
    free = min(total - models, int(device["free_bytes"]))
    other = total - models - free
    widths = [block.size_bytes * 100 / total for block in blocks]
    has_lens = bool(blocks) and (models < LENS_BELOW * total or widths[-1] < _LEAST_PERCENT)
    parts = [_models_part(models, total)] if has_lens else _block_parts(blocks, widths)
    x = models * 100 / total
    other_width = other * 100 / total
    label, needs_room = _fitted([f"other programs {size_words(other)}"], other_width)
    parts.append(
        Part(round(x, 2), round(other_width, 2), "other", f"other programs: {size_words(other)}", label, needs_room)
    )
    return DeviceBar(
        name="Main memory" if is_host else f"{device['id']}, {device['name']}",
        total=size_words(total),
        models=size_words(models) if models else "0",
        other=size_words(other),
        free=size_words(free),
        free_x=round(x + other_width, 2),
        free_width=round(max(0.0, 100 - x - other_width), 2),
        parts=tuple(parts),
        lens=_lens(blocks, models, total) if has_lens else None,
        is_estimated=not is_host and any(i.device_memory_estimated for _, i in on_it),
    )


def _models_part(models: int, total: int) -> Part:
    return Part(0, round(models * 100 / total, 2), "models", f"models: {size_words(models)}")


def _lens(blocks: Sequence[_Block], models: int, total: int) -> Lens:
    parts = tuple(_block_parts(blocks, _widths([block.size_bytes for block in blocks])))
    return Lens(round(models * 100 / total, 2), parts, ", ".join(part.title for part in parts))


def _widths(sizes: Sequence[int]) -> list[float]:
    """Per cents of the sum of `sizes`, largest first; those below the least get it from the others."""
    least = min(_LEAST_PERCENT, 100 / len(sizes))
    wide = list(sizes)

    def room() -> float:
        return 100 - (len(sizes) - len(wide)) * least

    while len(wide) > 1 and wide[-1] * room() < least * sum(wide):
        wide.pop()
    scale = room() / sum(wide)
    return [size * scale for size in wide] + [least] * (len(sizes) - len(wide))


def _block_parts(blocks: Sequence[_Block], widths: Sequence[float]) -> list[Part]:
    parts, x = [], 0.0
    for block, width in zip(blocks, widths, strict=True):
        row, size = block.row, size_words(block.size_bytes)
        label, needs_room = _fitted([f"{row} · {size}", str(row), row.model], width)
        parts.append(Part(round(x, 2), round(width, 2), "block", f"{row}: {size}", label, needs_room, row.hue, row.url))
        x += width
    return parts


def _fitted(texts: Sequence[str], width_percent: float) -> tuple[str, bool]:
    """The longest text that fits a wide bar, and whether a narrow bar is too small for it."""

    def fits(text: str, bar_px: int) -> bool:
        return len(text) * _LETTER_PX + _MARGIN_PX <= width_percent * bar_px / 100

    label = next((text for text in texts if fits(text, _WIDE_PX)), "")
    return label, not fits(label, _NARROW_PX)
