"""Converting a model file to another format, in a killable child with limits of time and memory.

The names of inputs and outputs stay the same in every format. Where a format cannot hold one, the converted file's
name → the original name is kept in a JSON file beside it and in `Converted.names`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.engines import SUFFIX_OF_FORMAT
from inference.limited_child import ChildFailed, Limits, Said, run_child
from inference.signature import Signature
from inference.workspace import Workspace

LIMITS = Limits(seconds=900.0, memory_bytes=6 * 10**9)

_FROM_TENSORFLOW = ("saved_model", "frozen_graph", "onnx", "openvino", "tflite")
TARGETS_BY_FORMAT: dict[str, tuple[str, ...]] = {
    "keras": _FROM_TENSORFLOW,
    "hdf5": _FROM_TENSORFLOW,
    "saved_model": _FROM_TENSORFLOW,
    "frozen_graph": _FROM_TENSORFLOW,
    "onnx": ("onnx", "openvino"),
    "tflite": ("tflite", "openvino"),
    "openvino": ("openvino",),
}
"""Format → the formats that it can be had in; its own is the file itself."""


class ConversionFailed(Exception):
    """The conversion was stopped or its process died; the text is a sentence for people."""


class CannotConvert(Exception):
    """The target cannot express the model: an answer, not a failure. `operation` is the one that stands in the way, as
    the source calls it, or "" where it is not one operation; the text is a sentence for people."""

    def __init__(self, operation: str, sentence: str) -> None:
        super().__init__(sentence)
        self.operation = operation
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted file in the workspace (move it away, then remove the workspace), the signature of the original, and
    the names that had to change: the converted file's → the original's."""

    path: Path
    signature: Signature
    names: Mapping[str, str]


def convert(
    source: Path,
    source_format: str,
    target: str,
    workspace: Workspace,
    *,
    progress: Callable[[int, str], None],
    limits: Limits = LIMITS,
    graph_inputs: tuple[str, ...] = (),
    graph_outputs: tuple[str, ...] = (),
) -> Converted:
    """Convert `source`. Raises CannotConvert or ConversionFailed, and then leaves nothing in the workspace."""
    if target not in TARGETS_BY_FORMAT.get(source_format, ()):
        raise CannotConvert("", f"A {source_format} file cannot be converted to {target}.")
    copy = workspace.prepare(source, f"model{SUFFIX_OF_FORMAT[source_format]}")
    path = workspace.tmp_directory / f"converted{SUFFIX_OF_FORMAT[target]}"
    request = {
        "source": str(copy),
        "source_format": source_format,
        "target": target,
        "path": str(path),
        "graph_inputs": list(graph_inputs),
        "graph_outputs": list(graph_outputs),
    }
    try:
        said = run_child(
            "inference.conversion",
            request,
            workspace,
            limits,
            hear=lambda line: progress(int(line["progress"]), str(line.get("detail", ""))[:200]),
        )
        return _converted(said, path)
    except ChildFailed as failure:
        workspace.remove()
        raise ConversionFailed(f"The conversion to {target} ended early. {failure}") from failure
    except (CannotConvert, ConversionFailed):
        workspace.remove()
        raise


def names_path(converted: Path) -> Path:
    """Where the changed names of a converted file are kept."""
    return converted.with_name(f"{converted.name}.names.json")


def read_names(converted: Path) -> dict[str, str]:
    """The converted file's names → the original's; empty where none had to change."""
    try:
        return {str(name): str(original) for name, original in json.loads(names_path(converted).read_text()).items()}
    except FileNotFoundError:
        return {}


def _converted(said: Said, path: Path) -> Converted:
    if "cannot" in said:
        raise CannotConvert(str(said["cannot"])[:200], str(said["sentence"])[:1000])
    if "failed" in said or not path.is_file():
        raise ConversionFailed(str(said.get("failed", "The conversion wrote no file."))[:1000])
    names = {str(name): str(original) for name, original in dict(said["names"]).items()}
    if names:
        names_path(path).write_text(json.dumps(names))
    return Converted(path, Signature.from_json(said["signature"]), names)
