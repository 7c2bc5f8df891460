"""The comparison of engines as a table: readable figures, bars, and the one sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inference import refusal
from inference.comparison.results import AGREES_BELOW
from models_app.models import Comparison, ModelVersion
from models_app.pages.words import count_words, milliseconds_words, moment_words, short_seconds, size_words
from models_app.services.choose import AUTO

_NONE = "–"
_CPU = "cpu"
_SLIGHTEST = 1e-9
_IN_A_FILE = "f32"
"""The precision at which answers are compared for `auto`; any lower one is a person's choice."""


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine at one precision. Texts are ready to print; with `error` only the names are set. `device` is set where
    there is a GPU. A row that `is_aside` is the reference's on the CPU beside the one on the GPU: no load uses it.
    """

    engine: str
    precision: str
    device: str = ""
    error: str = ""
    difference: str = _NONE
    relative: str = ""
    same_winner: str = _NONE
    load: str = _NONE
    latency: str = _NONE
    rate: str = _NONE
    rate_bar: float = 0.0
    batch: str = ""
    memory: str = _NONE
    memory_bar: float = 0.0
    is_recommended: bool = False
    is_reference: bool = False
    is_used: bool = False
    is_aside: bool = False
    differs: bool = False

    def __str__(self) -> str:
        return " ".join(filter(None, (self.engine, self.precision, self.device)))


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """`noun` is what is counted a second, `one` a single one of them. `wish` is set where a person chose."""

    rows: tuple[EngineRow, ...]
    noun: str
    one: str
    asked: str
    reason: str
    choices: str
    doubt: str
    wish: str
    max_rate: float
    max_memory: float


def comparison_table(version: ModelVersion, comparison: Comparison, now: datetime) -> ComparisonTable:
    able = [row for row in comparison.rows if not row["error"]]
    is_pictures = version.takes_pictures
    rows = sorted((_engine_row(version, comparison, row) for row in comparison.rows), key=_place)
    return ComparisonTable(
        rows=tuple(rows),
        noun="Images" if is_pictures else "Examples",
        one="image" if is_pictures else "example",
        asked=f"{comparison.inputs}, {moment_words(comparison.measured_at, now)}".removeprefix(", "),
        reason=comparison.reason,
        choices=choice_sentence(comparison),
        doubt=doubt_sentence(version, comparison),
        wish="" if version.engine == AUTO else f"{version.engine} {version.precision}",
        max_rate=max((row["per_second"] or 0 for row in able), default=1) or 1,
        max_memory=max((row["memory_bytes"] or 0 for row in able), default=1) or 1,
    )


def difference_words(number: float | None) -> str:
    """`0`, `below 1e-9`, `1.5e-6`, `0.013`, `2.4`: two digits, the way people write them."""
    if number is None:
        return _NONE
    if number == 0:
        return "0"
    if number < _SLIGHTEST:
        return "below 1e-9"
    if number >= 10:
        return count_words(round(number))
    if number >= 0.001:
        return f"{number:.2g}"
    digits, _, power = f"{number:.1e}".partition("e")
    return f"{digits}e{int(power)}"


def share_words(share: float | None) -> str:
    """`100 %`, `96.9 %`; never 100 for less than all."""
    if share is None:
        return _NONE
    return "100 %" if share >= 1 else f"{min(99.9, 100 * share):.1f} %"


def speed_words(per_second: float | None) -> str:
    return _NONE if per_second is None else refusal.speed_words(per_second)


def choice_sentence(comparison: Comparison) -> str:
    """What is faster than the recommended row and only a person may choose; else empty."""
    rows = comparison.rows
    best = next((row for row in rows if _is_recommended(comparison, row)), None)
    if best is None or not best["per_second"]:
        return ""
    able = [row for row in rows if not row["error"] and not _is_aside(comparison, row)]
    faster = [row for row in able if (row["per_second"] or 0) > best["per_second"]]
    if not faster:
        return ""
    row = max(faster, key=lambda one: one["per_second"])
    name, speed, deviation = f"{row['engine']} {row['precision']}", speed_words(row["per_second"]), _deviation(row)
    if row["precision"] == _IN_A_FILE and not deviation:  # else it would be the recommended one
        return f"Of requests of many examples {name} computes more ({speed} a second); it is yours to choose."
    return (
        f"{name} is faster still ({speed} a second){f', but {deviation}' if deviation else ''}; it is yours to choose."
    )


def doubt_sentence(version: ModelVersion, comparison: Comparison) -> str:
    """How the answers differ where a person chose an engine that answers otherwise; else empty."""
    able = [row for row in comparison.rows if not row["error"] and not _is_reference(comparison, row)]
    row = next((row for row in able if _is_used(version, comparison, row)), None)
    if row is None or not (deviation := _deviation(row)):
        return ""
    return f"{row['engine']} {row['precision']} {deviation}, compared with {comparison.reference}."


def _deviation(row: Mapping[str, Any]) -> str:
    """How the answers of a row differ from the reference's; empty where they do not."""
    same, relative = row["same_winner"], row["max_rel_diff"]
    if same is not None and same < 1:
        return f"names the same winner on {share_words(same)} only"
    if relative is not None and relative >= AGREES_BELOW:
        return f"answers otherwise by up to {difference_words(relative)} of the largest value"
    return ""


def _engine_row(version: ModelVersion, comparison: Comparison, row: Mapping[str, Any]) -> EngineRow:
    engine, precision = str(row["engine"]), str(row["precision"])
    device = _device(row) if _gpu_engines(comparison) else ""
    if row["error"]:
        return EngineRow(engine, precision, device, error=f"Not possible: {row['error']}")
    is_reference = _is_reference(comparison, row)
    relative = row["max_rel_diff"]
    load, batch = row["load_seconds"], row["best_batch"]
    return EngineRow(
        engine,
        precision,
        device,
        difference=_NONE if is_reference else difference_words(row["max_abs_diff"]),
        relative="" if is_reference or (relative or 0) < _SLIGHTEST else f"relative {difference_words(relative)}",
        same_winner=_NONE if is_reference else share_words(row["same_winner"]),
        load=_NONE if load is None else short_seconds(load),
        latency=_latency(row["p50_ms"], row["p99_ms"]),
        rate=speed_words(row["per_second"]),
        rate_bar=row["per_second"] or 0,
        batch=f"{count_words(batch)} at once" if batch else "",
        memory=size_words(row["memory_bytes"]) or _NONE,
        memory_bar=row["memory_bytes"] or 0,
        is_recommended=_is_recommended(comparison, row),
        is_reference=is_reference,
        is_used=_is_used(version, comparison, row),
        is_aside=_is_aside(comparison, row),
        differs=not is_reference and bool(_deviation(row)),
    )


def _latency(p50_ms: float | None, p99_ms: float | None) -> str:
    if p50_ms is None or p99_ms is None:
        return _NONE
    return f"{milliseconds_words(p50_ms)} / {milliseconds_words(p99_ms)} ms"


def _is_recommended(comparison: Comparison, row: Mapping[str, Any]) -> bool:
    is_named = row["engine"] == comparison.recommended and row["precision"] == _IN_A_FILE
    return is_named and not row["error"] and not _is_aside(comparison, row)


def _is_reference(comparison: Comparison, row: Mapping[str, Any]) -> bool:
    return row["engine"] == comparison.reference and row["precision"] == _IN_A_FILE and _device(row) == _CPU


def _is_used(version: ModelVersion, comparison: Comparison, row: Mapping[str, Any]) -> bool:
    is_named = (row["engine"], row["precision"]) == (version.engine_selected, version.precision)
    return is_named and not _is_aside(comparison, row)


def _is_aside(comparison: Comparison, row: Mapping[str, Any]) -> bool:
    return _device(row) == _CPU and row["engine"] in _gpu_engines(comparison)


def _gpu_engines(comparison: Comparison) -> set[str]:
    """The engines that were measured on a GPU."""
    return {str(row["engine"]) for row in comparison.rows if _device(row) != _CPU}


def _device(row: Mapping[str, Any]) -> str:
    return str(row.get("device", _CPU))  # comparisons by older portals have none


def _place(row: EngineRow) -> tuple[bool, bool, float]:
    """The recommended row first, then the fastest; what cannot run stands last."""
    return bool(row.error), not row.is_recommended, -row.rate_bar
