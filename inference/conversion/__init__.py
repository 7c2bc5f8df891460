"""Converts a model file to other formats, in a limited child process.

The names of inputs and outputs stay the same in every format. Where a format cannot hold one, `Converted.names` has the
converted file's name → the original name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.catalog import FORMATS
from inference.json_object import is_text
from inference.limited_child import NONSENSE, ChildFailed, Limits, Message, Progress, run_child
from inference.refusal import clean_text
from inference.runner.sandbox import SandboxMissing
from inference.workspace import Workspace, is_plain_file

LIMITS = Limits(seconds=900.0, memory_bytes=6 * 10**9)
MEMORY_PER_BYTE = 16
"""Raises the memory limit for a large file (`Limits.grown_for`). TensorFlow holds ten copies of weights while it makes
constants of them, as for TensorFlow Lite and frozen graphs. For OpenVINO and ONNX the large weights stay out of that:
ConvNeXtXLarge (1.4 GB) takes 3.9 and 7.4 GB, VGG16 (553 MB) 2.5 and 3.7, but 18 for TensorFlow Lite."""


class ConversionFailed(Exception):
    """The conversion failed, was stopped or its process died; the text is a sentence for users."""


class CannotConvert(Exception):
    """The target format cannot express the model: a result, not a failure. `operation` is the source's name of the one
    that it lacks, or "" where the reason is not one operation; the text is a sentence for users."""

    def __init__(self, operation: str, sentence: str) -> None:
        super().__init__(sentence)
        self.operation = operation
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted file in the workspace (move it away, then remove the workspace), and the names that had to change:
    the converted file's → the original's."""

    path: Path
    names: Mapping[str, str]


Outcome = Converted | CannotConvert | ConversionFailed


def convert(
    source: Path,
    source_format: str,
    targets: Sequence[str],
    workspace: Workspace,
    *,
    progress: Progress,
    sandbox: str,
    limits: Limits | None = None,
    graph_inputs: Sequence[str] = (),
    graph_outputs: Sequence[str] = (),
    is_trusted: bool = False,
) -> dict[str, Outcome]:
    """Convert `source` to each of `targets`; returns each outcome. Nothing is raised for problems with the file.

    The file is opened once for all targets. If the child dies or exceeds a limit, the current target fails, and another
    child makes the rest. `limits` are those of one child, by default LIMITS grown for the file. `sandbox` is the value
    of PORTAL_SANDBOX. Converted files are in the workspace, which is removed where there are none.
    """
    facts = FORMATS[source_format]
    outcomes: dict[str, Outcome] = {
        target: CannotConvert("", f"The {facts.word} file cannot be converted to {FORMATS[target].word}.")
        for target in targets
        if target not in facts.targets
    }
    waiting = [target for target in dict.fromkeys(targets) if target not in outcomes]
    if waiting:
        copy = workspace.prepare(source, f"model{facts.suffix}")
        most = limits or LIMITS.grown_for(copy, memory_per_byte=MEMORY_PER_BYTE)
        request = {
            "source": str(copy),
            "source_format": source_format,
            "graph_inputs": list(graph_inputs),
            "graph_outputs": list(graph_outputs),
            "is_trusted": is_trusted,
        }
    while waiting:
        attempt = _Attempt(workspace, waiting)
        attempt.run(request, most, sandbox, progress)
        outcomes |= attempt.outcomes
        waiting = [target for target in waiting if target not in outcomes]
    if not any(isinstance(outcome, Converted) for outcome in outcomes.values()):
        workspace.remove()
    return {target: outcomes[target] for target in targets}


@dataclass
class _Attempt:
    """One child process and the targets still to be made. After `run`, at least one of them has an outcome."""

    workspace: Workspace
    targets: Sequence[str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    current: str = ""

    def run(self, request: Mapping[str, Any], limits: Limits, sandbox: str, progress: Progress) -> None:
        paths = {target: str(self._path(target)) for target in self.targets}
        try:
            run_child(
                "inference.conversion.work", {**request, "paths": paths}, self.workspace, limits,
                sandbox=sandbox, progress=progress, on_part=self._on_part,
            )  # fmt: skip
            self._fail(self.targets, "The conversion wrote no file.")
        except SandboxMissing as missing:
            self._fail(self.targets, str(missing))
        except ChildFailed as failure:
            stopped = [self.current] if self.current and self.current not in self.outcomes else self.targets
            for target in stopped:
                self._fail([target], f"The conversion to {FORMATS[target].word} ended early. {failure}")

    def _on_part(self, part: Message) -> None:
        """The child sends `{"begun": target}`, then one of `{"target", "names"}`, `{"target", "cannot", "sentence"}`,
        `{"target", "failed"}`."""
        if "begun" in part:
            self.current = str(part["begun"])
            return
        target = str(part.get("target"))
        if target not in self.targets or target in self.outcomes:
            raise ChildFailed(NONSENSE)
        try:
            self.outcomes[target] = self._outcome(part, self._path(target))
        except (KeyError, TypeError, ValueError) as error:
            raise ChildFailed(NONSENSE) from error

    def _outcome(self, part: Message, path: Path) -> Outcome:
        if "cannot" in part:
            return CannotConvert(clean_text(part["cannot"], 200), clean_text(part["sentence"], 1000))
        if "failed" in part or not is_plain_file(path):
            path.unlink(missing_ok=True)
            return ConversionFailed(clean_text(part.get("failed", "The conversion wrote no file."), 1000))
        names = dict(part["names"])
        if not all(map(is_text, (*names, *names.values()))):
            raise ValueError("names that are no text")
        return Converted(path, names)

    def _path(self, target: str) -> Path:
        return self.workspace.tmp_directory / f"converted{FORMATS[target].suffix}"

    def _fail(self, targets: Sequence[str], sentence: str) -> None:
        for target in targets:
            if target not in self.outcomes:
                self._path(target).unlink(missing_ok=True)
                self.outcomes[target] = ConversionFailed(sentence)
