"""Compares engines on one model: agreement of the answers, speed and memory, each in a fresh process.

One at a time, because two measured at the same time would slow each other down.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.devices import Device, visible_devices_environment
from inference.engines import PARALLEL_ENGINES, SUFFIX_OF_FORMAT
from inference.limited_child import ChildFailed, Limits, Message, Progress, run_child
from inference.refusal import clean_text, speed_words
from inference.runner.sandbox import SandboxMissing
from inference.signature import Signature
from inference.workspace import Workspace, is_plain_file

Array = np.ndarray[Any, Any]

LIMITS = Limits(seconds=180.0, memory_bytes=6 * 10**9)
MEMORY_PER_BYTE = 4
"""Raises the memory limit for a large file (`Limits.grown_for`), as in its check."""
AGREES_BELOW = 1e-3
LEAST_SCALE = 2**-22 / AGREES_BELOW
"""Differences are divided by at least this, so that 2.4e-7 does not count. ONNX Runtime's logistic function is 1.1e-7
off near zero, a fifth of what it gives for -15: heat maps of empty pictures differed by 60 %."""
AS_FAST = 0.8
"""An engine that reaches this share of the highest throughput counts as equally fast: on a shared machine, the same
engine differs by as much from run to run (MobileNetV2 in OpenVINO: 315 to 417 a second)."""
REQUEST_S = 2e-4
"""Time that a request takes besides the model: reading, checking and answering it (README.md, the 8×8 digits). An
engine that computes a tiny model in 9 µs serves no more requests than one that takes 23 µs."""
OF_MANY_ROWS = 1 / 3
"""But requests of many examples show the difference: below this share of the highest throughput none is as fast."""
MAX_INPUT_ROWS = 64
MAX_OUTPUT_BYTES = 2**30
_NUMBERS = "fiub"
_BLOCK = 2**20
"""How many numbers are compared in one step."""
_OTHERWISE_TOGETHER = "It answers several rows in one request otherwise than the reference."


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds spent on latency, and on each size of batch."""

    latency_s: float
    batch_s: float


BRIEF = Effort(latency_s=1.0, batch_s=0.5)
FULL = Effort(latency_s=3.0, batch_s=1.5)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine at a precision with the file that it runs; `names` as in Converted, `signature` as in EngineSettings,
    `gpu` if it shall run on one, the last three as in convert."""

    engine: str
    path: Path
    format: str
    precision: str = "f32"
    names: Mapping[str, str] = field(default_factory=dict)
    signature: Signature | None = None
    gpu: Device | None = None
    threads: int | None = None
    graph_inputs: Sequence[str] = ()
    graph_outputs: Sequence[str] = ()
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The results of one engine. The relative difference is the largest difference in one example's output, divided by
    the largest value of the reference there: small scores beside a large one must not look like errors. `same_winner`
    is the share of examples with the same largest class, or one that ties with it; None where no output is (N, two or
    more). `device` is where the engine says that it ran."""

    engine: str
    precision: str
    max_abs_diff: float | None = None
    max_rel_diff: float | None = None
    same_winner: float | None = None
    load_seconds: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    best_batch: int | None = None
    per_second: float | None = None
    memory_bytes: int | None = None
    error: str = ""
    device: str = "cpu"

    def as_json(self) -> dict[str, Any]:
        """Infinite differences, which JSON cannot hold, become null; `error` says why."""
        values = dataclasses.asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs by name: `alone` of the examples, one call after the other; `together` of two rows in one request, empty
    where the model does not take two."""

    alone: Mapping[str, Array]
    together: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows, the reference first; `recommended` is an engine at f32, `reason` a sentence."""

    reference: str
    rows: tuple[Row, ...]
    recommended: str
    reason: str


def compare(
    candidates: Sequence[Candidate],
    examples: Iterable[Mapping[str, Array]],
    workspace: Workspace,
    *,
    progress: Progress,
    sandbox: str,
    effort: Effort = BRIEF,
    max_batch: int = 16,
) -> Comparison:
    """Measure each candidate; the first is the reference. All get the first of the `examples` that the reference
    answers with numbers (see `_first_answered`); examples have its names and dtypes, batch first.

    An engine that fails has a row with an error; nothing is raised. One that does not use the GPU it was given, and was
    measured on the CPU already, has no second row. The workspace is removed at the end. `sandbox` is the value of
    PORTAL_SANDBOX.
    """
    rows: list[Row] = []
    reference: Answers | None = None
    ask = functools.partial(
        measure, workspace=workspace, sandbox=sandbox, effort=effort, max_batch=max_batch, progress=progress
    )
    try:
        for i, candidate in enumerate(candidates):
            where = f" on {candidate.gpu.id}" if candidate.gpu else ""
            stage = 5 + 90 * i // len(candidates), f"Measuring {candidate.engine} at {candidate.precision}{where}."
            examples, row, answers = _first_answered(functools.partial(ask, candidate, stage=stage), examples)
            if candidate.gpu and row.device == "cpu" and any(known.engine == row.engine for known in rows):
                continue  # it does not use the GPU: the same was measured before
            if i == 0:
                reference = answers
            if answers is not None and reference is not None:
                row = _judged(row, answers, reference)
            rows.append(row)
    finally:
        workspace.remove()
    engine, sentence = recommend(rows)
    return Comparison(candidates[0].engine, tuple(rows), engine, sentence)


def _first_answered(
    ask: Callable[[Mapping[str, Array]], tuple[Row, Answers | None]], examples: Iterable[Mapping[str, Array]]
) -> tuple[Sequence[Mapping[str, Array]], Row, Answers | None]:
    """The first examples that are answered with finite numbers, or the second with any output; else the last that are
    answered at all, or the last. Returned as a list of one, with the row and the answers."""
    tried: list[tuple[Sequence[Mapping[str, Array]], Row, Answers | None]] = []
    answered = []
    for given in examples:
        row, answers = ask(given)
        tried.append(([given], row, answers))
        if answers is not None and all(array.size for array in answers.alone.values()):
            answered.append(tried[-1])
            if len(answered) == 2 or _are_numbers(answers):
                return tried[-1]
    return next((one for one in reversed(answered or tried) if one[2] is not None), tried[-1])


def _are_numbers(answers: Answers) -> bool:
    return all(np.isfinite(array).all() for array in answers.alone.values() if array.dtype.kind == "f")


def measure(
    candidate: Candidate,
    inputs: Mapping[str, Array],
    workspace: Workspace,
    *,
    sandbox: str,
    effort: Effort,
    max_batch: int,
    progress: Progress | None = None,
    stage: tuple[int, str] | None = None,
) -> tuple[Row, Answers | None]:
    """One engine in one fresh process: its row without differences, and its answers, None where it failed."""
    bare = Row(candidate.engine, candidate.precision, device=candidate.gpu.id if candidate.gpu else "cpu")
    copy = workspace.prepare(candidate.path, f"model{SUFFIX_OF_FORMAT[candidate.format]}")
    given, made = workspace.tmp_directory / "inputs.npz", workspace.tmp_directory / "outputs.npz"
    # Numbered, because npz makes file names of the keys and a tensor's name can hold a slash.
    np.savez(given, *(array[:MAX_INPUT_ROWS] if array.ndim else array for array in inputs.values()))
    request = {
        **{"engine": candidate.engine, "precision": candidate.precision, "format": candidate.format},
        **{"path": str(copy), "names": dict(candidate.names), "threads": candidate.threads},
        **{"signature": candidate.signature.as_json() if candidate.signature else None},
        **{"inputs": str(given), "input_names": list(inputs), "outputs": str(made)},
        **{"graph_inputs": list(candidate.graph_inputs), "graph_outputs": list(candidate.graph_outputs)},
        **{"is_trusted": candidate.is_trusted},
        **{"latency_s": effort.latency_s, "batch_s": effort.batch_s, "max_batch": max_batch},
    }
    try:
        answer = run_child(
            "inference.comparison.work",
            request,
            workspace,
            LIMITS.grown_for(copy, memory_per_byte=MEMORY_PER_BYTE),
            sandbox=sandbox,
            device=visible_devices_environment(candidate.gpu),
            progress=progress,
            stage=stage,
        )
    except (ChildFailed, SandboxMissing) as failure:
        return dataclasses.replace(bare, error=str(failure)), None
    if "error" in answer:
        return dataclasses.replace(bare, error=clean_text(answer["error"], 1000)), None
    try:
        return _measured(bare, answer), _answers(made, answer)
    except (ValueError, KeyError, TypeError, OverflowError):
        return dataclasses.replace(
            bare, error="The process that measured answered something that makes no sense."
        ), None


def recommend(rows: Sequence[Row]) -> tuple[str, str]:
    """The engine for `auto` and why. The first row is the reference.

    The fastest at f32 whose relative difference is below 1e-3 and that has the same winner on all examples; the
    reference where there is none. Of those that serve requests of one example equally fast, the one with the lowest
    latency; where that is equal too, one that computes several calls at the same time: there no request waits for
    another one's batch. An engine that was measured on a GPU is loaded there, so its results on the CPU do not count.
    """
    reference = rows[0]
    on_gpu = {row.engine for row in rows if row.device != "cpu"}
    loadable = [row for row in rows if row.device != "cpu" or row.engine not in on_gpu]
    able = [row for row in loadable if row.precision == "f32" and row.per_second and not row.error]
    agreeing = [row for row in able if row is reference or _agrees(row)]
    if not agreeing:
        return (
            reference.engine,
            f"{reference.engine} made the file and could not be measured, so that no other can be compared.",
        )
    fastest = _as_fast_as_the_fastest(agreeing)
    soonest_ms = min(row.p50_ms or math.inf for row in fastest)
    soon = [row for row in fastest if AS_FAST * (row.p50_ms or math.inf) <= soonest_ms]
    best = min(soon, key=lambda row: (row.engine not in PARALLEL_ENGINES, row.p50_ms or math.inf))
    as_fast = _joined([row.engine for row in fastest if row.engine != best.engine])
    if best.engine != reference.engine:
        has_equals = len(soon) > 1 and best.engine in PARALLEL_ENGINES
        return best.engine, _why(best, reference, as_fast, has_equals=has_equals)
    if as_fast:
        return best.engine, f"{_named(best)} answers a single example soonest. As a service {as_fast} would be as fast."
    return best.engine, _why_the_reference(best, rows)


def _as_fast_as_the_fastest(rows: Sequence[Row]) -> list[Row]:
    """The engines that serve as many requests as the fastest, and are not much slower with many rows."""
    seconds = {row: 1 / row.per_second for row in rows if row.per_second}
    least = min(seconds.values())
    return [
        row
        for row, example_s in seconds.items()
        if AS_FAST * (REQUEST_S + example_s) <= REQUEST_S + least and OF_MANY_ROWS * example_s <= least
    ]


def _why_the_reference(best: Row, rows: Sequence[Row]) -> str:
    others = [row for row in rows if row.engine != best.engine and row.precision == "f32"]
    if any(_agrees(row) for row in others):
        return f"{_named(best)} is the fastest."
    verb = "agrees" if any(row.per_second for row in others) else "can run it"
    return f"{_named(best)} made the file, and no other engine {verb}."


def _named(row: Row) -> str:
    return row.engine if row.device == "cpu" else f"{row.engine} on {row.device}"


def _why(best: Row, reference: Row, as_fast: str, *, has_equals: bool) -> str:
    """`as_fast` are the other engines that serve requests as fast; `has_equals`: one of them answers as soon too."""
    per_second = best.per_second or 0.0
    speed = f"{speed_words(per_second)} examples a second"
    if reference.per_second:
        speed += f", {per_second / reference.per_second:.1f} times {reference.engine}"
    if not as_fast:
        return f"{best.engine} is the fastest whose answers agree ({speed})."
    merit = "computes requests side by side" if has_equals else "answers a single example soonest"
    return f"{best.engine} agrees and {merit} ({speed}). As a service {as_fast} would be as fast."


def _joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _agrees(row: Row) -> bool:
    has_winner = row.same_winner is None or row.same_winner == 1.0
    return not row.error and row.max_rel_diff is not None and row.max_rel_diff < AGREES_BELOW and has_winner


def _measured(bare: Row, answer: Message) -> Row:
    return dataclasses.replace(
        bare,
        load_seconds=float(answer["load_seconds"]),
        p50_ms=float(answer["p50_ms"]),
        p99_ms=float(answer["p99_ms"]),
        best_batch=int(answer["best_batch"]),
        device=bare.device if answer["is_on_gpu"] is True else "cpu",
        per_second=float(answer["per_second"]),
        memory_bytes=int(answer["memory_bytes"]),
    )


def _answers(path: Path, answer: Message) -> Answers:
    """The outputs that the child process wrote; they are not trusted. Raises ValueError for a file that cannot be read,
    is compressed or is too large."""
    if not is_plain_file(path):
        raise ValueError("no file")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed")
            if file.seek(0, os.SEEK_END) > MAX_OUTPUT_BYTES:
                raise ValueError("too large")
        with np.load(path, allow_pickle=False) as made:
            arrays = (_array(made[f"arr_{i}"]) for i in itertools.count())
            alone = {str(name): next(arrays) for name in answer["output_names"]}
            return Answers(alone, {str(name): next(arrays) for name in answer["names_together"]})
    except Exception as error:  # what hostile bytes raise in zipfile, tokenize and NumPy has nothing else in common
        raise ValueError("unreadable") from error


def _array(read: Any) -> Array:
    """NumPy returns the bytes of an entry that is no array."""
    if not isinstance(read, np.ndarray):
        raise ValueError("no array")
    return read


def _judged(row: Row, answers: Answers, reference: Answers) -> Row:
    """The row with its differences. An engine that agrees is also compared on two rows in one request: a file that
    takes one row a call would otherwise agree even where the model's answer to a row depends on the others."""
    row = _with_differences(row, answers.alone, reference.alone)
    if not reference.together or not _agrees(row):
        return row
    agrees = _agrees(_with_differences(row, answers.together, reference.together))
    return row if agrees else dataclasses.replace(row, error=_OTHERWISE_TOGETHER)


def _with_differences(row: Row, outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> Row:
    """Outputs are matched by name, because their order differs between formats."""
    if missing := sorted(set(reference) - set(outputs)):
        return dataclasses.replace(row, error=f"The output {missing[0]} is missing.")
    largest, relative = 0.0, 0.0
    winners: list[float] = []
    for name, expected in reference.items():
        got = outputs[name]
        if got.shape != expected.shape:
            return dataclasses.replace(row, error=f"The output {name} has another shape than the reference's.")
        if expected.dtype.kind == "S" and not (got.dtype.kind == "S" and np.array_equal(got, expected)):
            return dataclasses.replace(row, error=f"The texts of the output {name} are others than the reference's.")
        if expected.dtype.kind not in _NUMBERS or not expected.size:
            continue
        if got.dtype.kind not in _NUMBERS:
            return dataclasses.replace(row, error=f"The output {name} holds no numbers, unlike the reference's.")
        absolute, share = _difference(got, expected)
        largest, relative = max(largest, absolute), max(relative, share)
        if expected.ndim == 2 and expected.shape[1] >= 2:
            winners.append(_same_winners(got, expected))
    error = (
        row.error if math.isfinite(largest) else "Some answers are no numbers (NaN) or infinite, unlike the reference."
    )
    winner = min(winners) if winners else None
    return dataclasses.replace(row, max_abs_diff=largest, max_rel_diff=relative, same_winner=winner, error=error)


def _same_winners(got: Array, expected: Array) -> float:
    """The share of examples, (N,classes), whose winner is the reference's or ties with it. A tie is decided by the last
    bits, and an untrained model gives little but ties."""
    winner, best = got.argmax(axis=1), expected.argmax(axis=1)
    rows = np.arange(len(expected))
    named, most = expected[rows, winner].astype(np.float64), expected[rows, best].astype(np.float64)
    scale = np.maximum(np.abs(np.nan_to_num(most)), LEAST_SCALE)
    is_tie = np.isfinite(most) & (named >= np.nan_to_num(most) - AGREES_BELOW * scale)
    return float(np.mean((winner == best) | is_tie))


def _difference(got: Array, expected: Array) -> tuple[float, float]:
    """Largest absolute difference, and largest relative to its example's largest value. Computed in blocks: each of
    several float64 copies of the whole would take eight times the memory of some outputs."""
    rows = len(expected) if expected.ndim and len(expected) <= MAX_INPUT_ROWS else 1  # more cannot be examples
    apart, scale = np.zeros(rows), np.zeros(rows)
    step = _BLOCK // rows
    all_got, all_expected = got.reshape(rows, -1), expected.reshape(rows, -1)
    for at in range(0, all_expected.shape[1], step):
        a, b = (both[:, at : at + step].astype(np.float64) for both in (all_got, all_expected))
        is_special = ~np.isfinite(b)
        if not np.array_equal(a[is_special], b[is_special], equal_nan=True) or not np.isfinite(a[~is_special]).all():
            return math.inf, math.inf
        a[is_special] = b[is_special] = 0.0
        np.maximum(apart, np.abs(a - b).max(axis=1), out=apart)
        np.maximum(scale, np.abs(b).max(axis=1), out=scale)
    return float(apart.max()), float((apart / np.maximum(scale, LEAST_SCALE)).max())
