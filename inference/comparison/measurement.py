"""Measures one engine with one file in a fresh process: its speed, its memory and its answers."""

from __future__ import annotations

import dataclasses
import itertools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inference.catalog import FORMATS
from inference.comparison.results import Answers, Array, Row
from inference.host.devices import Device, visible_devices_environment
from inference.limited_child import ChildFailed, Limits, Message, Progress, run_child
from inference.refusal import clean_text
from inference.runner.sandbox import SandboxMissing
from inference.signature import Signature
from inference.workspace import Workspace, is_plain_file

LIMITS = Limits(seconds=180.0, memory_bytes=6 * 10**9)
MEMORY_PER_BYTE = 4
"""Raises the memory limit for a large file (`Limits.grown_for`), as in its check."""
MAX_OUTPUT_BYTES = 2**30


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


def measure(
    candidate: Candidate,
    inputs: Mapping[str, Array],
    workspace: Workspace,
    *,
    sandbox: str,
    effort: Effort,
    progress: Progress | None = None,
    stage: tuple[int, str] | None = None,
) -> tuple[Row, Answers | None]:
    """One engine in one fresh process: its row without differences, and its answers, None where it failed."""
    bare = Row(candidate.engine, candidate.precision, device=candidate.gpu.id if candidate.gpu else "cpu")
    copy = workspace.prepare(candidate.path, f"model{FORMATS[candidate.format].suffix}")
    given, made = workspace.tmp_directory / "inputs.npz", workspace.tmp_directory / "outputs.npz"
    # Numbered, because npz makes file names of the keys and a tensor's name can hold a slash.
    np.savez(given, *inputs.values())
    request = {
        **{"engine": candidate.engine, "precision": candidate.precision, "format": candidate.format},
        **{"path": str(copy), "names": dict(candidate.names), "threads": candidate.threads},
        **{"signature": candidate.signature.as_json() if candidate.signature else None},
        **{"inputs": str(given), "input_names": list(inputs), "outputs": str(made)},
        **{"graph_inputs": list(candidate.graph_inputs), "graph_outputs": list(candidate.graph_outputs)},
        **{"is_trusted": candidate.is_trusted},
        **{"latency_s": effort.latency_s, "batch_s": effort.batch_s},
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
    if not is_plain_file(path) or path.stat().st_size > MAX_OUTPUT_BYTES:
        raise ValueError("no file, or too large")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed")
            if sum(entry.file_size for entry in archive.infolist()) > MAX_OUTPUT_BYTES:  # they may overlap
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
