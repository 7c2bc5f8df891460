"""Checks an uploaded file in limited child processes: first what it is, then whether it loads.

The first child reads the file without an engine (inference/formats). Only if it passes, the second opens it with an
engine.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.catalog import FORMATS
from inference.errors import ValidationFailed
from inference.limited_child import NONSENSE, ChildFailed, ChildKilled, Limits, Message, Progress, run_child
from inference.options import GraphEnds, parse_options
from inference.postprocessing import parse_labels
from inference.refusal import FileRejected, FileUnsafe, clean_text, shown
from inference.runner.sandbox import SandboxMissing
from inference.signature import Signature
from inference.wire import ALLOWED_DTYPES
from inference.workspace import Workspace

logger = logging.getLogger("portal.check")

INSPECT_S, INSPECT_BYTES_PER_S = 8.0, 25 * 10**6
"""Reading a description takes a tenth of a second; the rest is for unpacking archives."""
INSPECT_MEMORY_BYTES = 900 * 10**6
OPEN_LIMITS = Limits(seconds=120.0, memory_bytes=4 * 10**9)
MEMORY_PER_BYTE = 4
"""For a large file: ConvNeXtXLarge (1.4 GB) takes 4.9 GB, because Keras reads the whole archive first."""
_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a valid file: its format, signature and labels, and `notes`: sentences to show with it."""

    format: str
    signature: Signature
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_file(
    path: Path,
    *,
    workspace: Workspace,
    is_trusted: bool,
    sandbox: str,
    progress: Progress,
    graph_inputs: Sequence[str] = (),
    graph_outputs: Sequence[str] = (),
    on_candidates: Callable[[GraphEnds], None] = lambda ends: None,
) -> Checked:
    """Check the file at `path`. Raises FileRejected with a sentence. The workspace is removed at the end.

    `sandbox` is the value of PORTAL_SANDBOX: with `require`, a host without the full sandbox rejects every file.
    `graph_inputs` and `graph_outputs` choose the inputs and outputs of a frozen graph; `on_candidates` is called with
    those that may be chosen, even if the graph is then rejected.
    """
    chosen = {"is_trusted": is_trusted, "graph_inputs": list(graph_inputs), "graph_outputs": list(graph_outputs)}
    try:
        copy = workspace.prepare(path, "source")
        ask = functools.partial(
            _ask,
            workspace=workspace,
            sandbox=sandbox,
            progress=progress,
            on_part=lambda part: on_candidates(_candidates(part)),
        )
        request = {"verb": "inspect", "path": str(copy), **chosen}
        facts = ask(request, limits=_inspect_limits(path), stage=(10, "Reading what kind of file it is."))
        format_name = str(facts.get("format"))
        if format_name not in FORMATS:
            raise FileRejected(NONSENSE)
        form = FORMATS[format_name]
        if (graph_inputs or graph_outputs) and not form.has_graph_ends:
            raise FileRejected(
                f"Inputs and outputs can be chosen for frozen graphs only, not for {form.word} files. Leave "
                "graph_inputs and graph_outputs out of the options."
            )
        engine = form.reference
        copy = workspace.prepare(path, f"model{form.suffix}")
        request = {"verb": "open", "path": str(copy), "format": format_name, "engine": engine, **chosen}
        limits = OPEN_LIMITS.grown_for(copy, memory_per_byte=MEMORY_PER_BYTE)
        opened = ask(request, limits=limits, stage=(30, f"Opening it with {engine} to read its inputs and outputs."))
        progress(90, "Comparing labels and outputs.")
        return _checked(format_name, facts, opened)
    finally:
        workspace.remove()


def _inspect_limits(path: Path) -> Limits:
    return Limits(INSPECT_S + path.stat().st_size / INSPECT_BYTES_PER_S, INSPECT_MEMORY_BYTES)


def _ask(
    request: dict[str, Any],
    *,
    workspace: Workspace,
    limits: Limits,
    sandbox: str,
    progress: Progress,
    stage: tuple[int, str],
    on_part: Callable[[Message], None],
) -> Message:
    """The child's answer. Raises FileRejected where it rejects the file, exceeds a limit or ends without an answer."""
    run = functools.partial(
        run_child,
        "inference.checking.work",
        request,
        workspace,
        limits,
        sandbox=sandbox,
        progress=progress,
        stage=stage,
        on_part=on_part,
    )
    try:
        try:
            answer = run()
        except ChildKilled as killed:
            logger.warning("the check of %s is tried once more: %s", workspace.root.name, killed)
            answer = run()
    except SandboxMissing as missing:
        raise FileRejected(str(missing)) from missing
    except ChildFailed as failure:
        raise FileRejected(f"The check ended early. {failure}") from failure
    if "refused" in answer:
        rejected = FileUnsafe if answer.get("is_unsafe") is True else FileRejected
        raise rejected(clean_text(answer["refused"], 2000))
    return answer


def _candidates(part: Message) -> GraphEnds:
    """Checked as if a client had sent them in the options."""
    try:
        return parse_options(part.get("candidates")).graph_ends
    except ValidationFailed as error:
        raise FileRejected(NONSENSE) from error


def _checked(format_name: str, facts: Message, opened: Message) -> Checked:
    """What the children found, with checked types, because their answers are untrusted."""
    try:
        labels, notes = _labels(facts["labels"])
        notes += [clean_text(note, 1000) for note in facts["notes"][:_MOST_NOTES]]
        signature = Signature.from_json(opened["signature"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileRejected(NONSENSE) from error
    _check_dtypes(signature)
    return Checked(format_name, signature, tuple(labels), tuple(notes))


def _check_dtypes(signature: Signature) -> None:
    for spec in (*signature.inputs, *signature.outputs):
        if spec.dtype not in ALLOWED_DTYPES:
            raise FileRejected(
                f"The tensor '{shown(spec.name)}' holds numbers of the kind {shown(spec.dtype)}, which cannot be sent "
                "here. Export the model with plain numbers as its inputs and outputs."
            )


def _labels(said: object) -> tuple[list[str], list[str]]:
    """The labels, checked as if a client had sent them, and notes; invalid labels are replaced by a note."""
    try:
        return parse_labels(said), []
    except ValidationFailed as refusal:
        return [], [f"The labels inside the file were left out. {refusal.message}"]
