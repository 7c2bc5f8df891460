"""The choices of engine and precision with what each does, and the ends (inputs, outputs) of a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.catalog import ENGINES, FORMATS, engines_computing_in, precision_refusal
from inference.errors import ValidationFailed
from inference.options import PRECISIONS
from models_app.choices import FileStatus
from models_app.models import ModelVersion
from models_app.services.choose import AUTO, DEFAULT_PRECISION

_AUTO_HINT = "the fastest that answers alike"
_PRECISION_HINTS = {"f32": "as exact as the model was made", "bf16": "faster, less exact", "f16": "faster, less exact"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Of an engine or a precision; of an engine with those that it computes in, of `auto` with all."""

    value: str
    word: str
    precisions: tuple[str, ...] = PRECISIONS


@dataclass(frozen=True, slots=True)
class End:
    """A tensor of the graph that may be an input or output."""

    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class EndChoices:
    """The candidates that the check found, to be ticked; `other_…` are chosen names that are none."""

    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    other_inputs: str
    other_outputs: str


def engine_choices(file_format: str = "") -> tuple[Choice, ...]:
    """`auto` first, then the engines that run this format; before it is known, all of them."""
    names = FORMATS[file_format].engines if file_format else ENGINES
    engines = (Choice(name, f"{name}: {ENGINES[name].hint}", ENGINES[name].precisions) for name in names)
    return (Choice(AUTO, f"{AUTO}: {_AUTO_HINT}"), *engines)


def precision_choices() -> tuple[Choice, ...]:
    return tuple(Choice(name, f"{name}: {_PRECISION_HINTS[name]}{_only(name)}") for name in PRECISIONS)


def _only(precision: str) -> str:
    able = engines_computing_in(precision)
    return "" if len(able) == len(ENGINES) else f", {' and '.join(able)} only"


def check_precision(engine: str, precision: str) -> None:
    """Raises ValidationFailed where this engine does not compute in this precision. `auto` passes, and so do names that
    are no engine's: the service refuses them."""
    if engine in ENGINES and (refusal := precision_refusal(engine, precision)):
        raise ValidationFailed.of("precision", refusal)


def precision_wish(precision: str) -> dict[str, str]:
    """As options; the default is left out."""
    return {"precision": precision} if precision and precision != DEFAULT_PRECISION else {}


def typed_names(text: str) -> list[str]:
    """Names, one a line or with commas between them."""
    return [name for part in re.split(r"[,\n]", text) if (name := part.strip())]


def is_frozen_graph(version: ModelVersion) -> bool:
    """By its format, or while that is not known, by the name of its file."""
    if version.status == FileStatus.READY:
        return FORMATS[version.format].has_graph_ends
    return version.file_name.lower().endswith(".pb")


def graph_ends(version: ModelVersion, typed: Mapping[str, Sequence[str]] | None = None) -> EndChoices:
    """Ticked are those `typed`, else those in use."""
    found, chosen, signature = version.candidates, typed or version.options.graph_ends, version.signature
    inputs, others = _ends(found["graph_inputs"], chosen["graph_inputs"], [spec.name for spec in signature.inputs])
    outputs, more = _ends(found["graph_outputs"], chosen["graph_outputs"], [spec.name for spec in signature.outputs])
    return EndChoices(inputs, outputs, "\n".join(others), "\n".join(more))


def _ends(found: Sequence[str], chosen: Sequence[str], used: Sequence[str]) -> tuple[tuple[End, ...], list[str]]:
    wanted = {_whole(name) for name in (chosen or used)}
    others = [name for name in chosen if _whole(name) not in {_whole(one) for one in found}]
    return tuple(End(name, _whole(name) in wanted) for name in found), others


def _whole(name: str) -> str:
    """`node` is the first output of a node: `node:0`."""
    return name if ":" in name else f"{name}:0"
