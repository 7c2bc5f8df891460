"""The engines that execute models: one interface, one file per engine. Only these files import an engine's library.

An engine's file has `load(path, format_name, settings)`, which returns an `Engine` or raises ModelUnusable, and perhaps
`prepare()` (see `prepare_engine`). What an engine can do stands in `inference/catalog.py`.
"""

from __future__ import annotations

import importlib
import mmap
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from inference import texts
from inference.catalog import ENGINES, FORMATS, precision_refusal
from inference.errors import is_disk_full
from inference.garbage import importing
from inference.signature import Signature, TensorSpec

Tensors = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of a model version for its engine.

    `streams` is how many calls of `run` an engine may compute at the same time; only OpenVINO takes more than one.
    `cache_directory` keeps what an engine compiled, for the next load. `names` are the names that a conversion had to
    change, the converted file's → the original's. `graph_inputs` and `graph_outputs` replace the inputs and outputs of
    a frozen graph that are taken by default. `is_trusted`: the file is trusted and may contain Python code (Keras'
    Lambda). `signature` is the reference engine's: its tensor names replace those that differ.
    """

    precision: str = "f32"
    threads: int | None = None
    streams: int = 1
    cache_directory: Path | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    graph_inputs: tuple[str, ...] = ()
    graph_outputs: tuple[str, ...] = ()
    is_trusted: bool = False
    signature: Signature | None = None


_HEADING = re.compile(r"Exception from .*|Check '.*' failed at .*|FrontEnd API failed with \w+:")
"""Lines that OpenVINO puts before the actual message."""


class ModelUnusable(Exception):
    """The file cannot be loaded by this engine; the text is a sentence for users."""


class Engine(Protocol):
    """Holds one loaded model."""

    signature: Signature
    device: str
    """Where the model really runs: `cpu` or `gpu:0`, …"""
    parallel: int
    """How many calls are computed at the same time, a core each (streams); 1: each call uses all cores that it can."""
    callers: int
    """How many threads should call `run`, so that no core waits for Python or for the slowest part of another call."""
    may_loop: bool
    """Whether the time of a call may depend on the values, because the graph may loop; True where this is unknown."""

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name. Inputs have the signature's dtypes and a batch axis; texts: see inference/texts.py. Raises
        BadInput where the library says that the model does not take these values, else what the library raises."""
        ...


DISK_FULL = "The disk is full, so the model could not be unpacked. Free some space and try again."


def open_engine(name: str, path: Path, format_name: str, settings: EngineSettings) -> Engine:
    """Import the library of the engine `name` and load the model at `path`. Raises ModelUnusable with a sentence."""
    if name not in ENGINES:
        raise ModelUnusable(f"There is no engine called {name}.")
    if name not in FORMATS[format_name].direct_engines:
        raise ModelUnusable(
            f"The engine {name} does not open {FORMATS[format_name].word} files; they are converted first."
        )
    if refusal := precision_refusal(name, settings.precision):
        raise ModelUnusable(f"The engine {refusal}")
    module = _import(name)
    try:
        engine: Engine = module.load(path, format_name, settings)
    except (ModelUnusable, OSError) as error:
        if is_for_the_disk(error):
            raise ModelUnusable(DISK_FULL) from error
        raise
    _check_texts(engine, name)
    if settings.names:
        engine = RenamedEngine(engine, settings.names, settings.names)
    if settings.signature is None:
        return engine
    # Without a target it runs the uploaded file itself: the order is the same even where tensors once had other names.
    have, wanted, has_same_order = engine.signature, settings.signature, not ENGINES[name].target
    inputs = other_names(have.inputs, wanted.inputs, has_same_order=has_same_order)
    outputs = other_names(have.outputs, wanted.outputs, has_same_order=has_same_order)
    return RenamedEngine(engine, inputs, outputs) if inputs or outputs else engine


def _check_texts(engine: Engine, name: str) -> None:
    for spec in (*engine.signature.inputs, *engine.signature.outputs):
        if spec.dtype == texts.DTYPE and not ENGINES[name].has_texts:
            able = sorted(other for other, facts in ENGINES.items() if facts.has_texts)
            raise ModelUnusable(
                f"The tensor {spec.name} holds text, which {name} runs only with extensions that are not here. Choose "
                f"{' or '.join(able)}, or save the model with plain numbers as its inputs and outputs."
            )


def prepare_engine(name: str) -> None:
    """Import the library and, where possible, do in advance what the first load of a model in a process would do."""
    module = _import(name)
    if (prepare := getattr(module, "prepare", None)) is not None:
        prepare()


def _import(name: str) -> ModuleType:
    module = f"inference.engines.{name}"
    if module in sys.modules:  # `importing` would exempt from garbage collection what an engine before this one left
        return sys.modules[module]
    with importing():
        return importlib.import_module(module)


class RenamedEngine:
    """An engine whose file has other tensor names than the original. `inputs` and `outputs` map the file's names to the
    original's; an input and an output may have the same name."""

    def __init__(self, engine: Engine, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
        self._engine = engine
        self._converted = {inputs.get(spec.name, spec.name): spec.name for spec in engine.signature.inputs}
        self._originals = dict(outputs)
        self.device = engine.device
        self.parallel = engine.parallel
        self.callers = engine.callers
        self.may_loop = engine.may_loop
        self.signature = Signature(
            tuple(_renamed(spec, inputs) for spec in engine.signature.inputs),
            tuple(_renamed(spec, outputs) for spec in engine.signature.outputs),
        )

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        outputs = self._engine.run({self._converted[name]: array for name, array in inputs.items()})
        return {self._originals.get(name, name): array for name, array in outputs.items()}


def _renamed(spec: TensorSpec, names: Mapping[str, str]) -> TensorSpec:
    return replace(spec, name=names.get(spec.name, spec.name))


def other_names(
    ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec], *, has_same_order: bool = False
) -> dict[str, str]:
    """Names of an engine that differ from the reference's → the reference's; empty where all agree. `ours` and `theirs`
    are all inputs, or all outputs.

    The order differs between engines, so names are matched if they differ only in TensorFlow's `:0`, and then one
    remaining name. More are matched only where both are known to have the same order. Raises ModelUnusable otherwise.
    """
    extra = sorted({spec.name for spec in ours} - {spec.name for spec in theirs})
    missing = sorted({spec.name for spec in theirs} - {spec.name for spec in ours})
    short = {name.removesuffix(":0"): name for name in missing}
    names = {name: short[name.removesuffix(":0")] for name in extra if name.removesuffix(":0") in short}
    extra = [name for name in extra if name not in names]
    missing = [name for name in missing if name not in names.values()]
    if len(extra) > 1 and has_same_order and [_kind(spec) for spec in ours] == [_kind(spec) for spec in theirs]:
        return {mine.name: other.name for mine, other in zip(ours, theirs, strict=True)}
    if len(extra) > 1 or len(extra) != len(missing):
        raise ModelUnusable(
            f"This engine calls the model's tensors {', '.join(extra) or 'otherwise'}, which cannot be told apart. "
            "Choose the engine that made the file."
        )
    return names | dict(zip(extra, missing, strict=True))


def _kind(spec: TensorSpec) -> tuple[str, Sequence[int | None]]:
    return spec.dtype, spec.shape


def is_for_the_disk(error: BaseException) -> bool:
    """Whether a full disk caused the error: a process unpacks and writes files in its own folder."""
    at: BaseException | None = error
    while at is not None:
        if is_disk_full(at) or "no space left" in str(at).lower():
            return True
        at = at.__cause__
    return False


def holds_text(path: Path, texts: Sequence[bytes]) -> bool:
    """Whether the file, which is memory-mapped, contains one of the texts, such as the name of an operation."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(text) >= 0 for text in texts)


def first_line(error: Exception) -> str:
    """The first line of a library's message that says more than paths and the place in its source, shortened and with
    its paths replaced by "…"."""
    lines = (
        " ".join(word if "/" not in word or len(word) < 2 else "…" for word in line.split())
        for line in str(error).splitlines()
    )
    telling = [line for line in lines if line.strip("… ")] or [type(error).__name__]
    return next((line for line in telling if not _HEADING.fullmatch(line)), telling[-1])[:300]
