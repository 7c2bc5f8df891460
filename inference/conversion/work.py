"""The work of a converting child process: opens the file once and makes one target after the other."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.catalog import FORMATS
from inference.conversion import CannotConvert
from inference.engines import EngineSettings, ModelUnusable, first_line, is_for_the_disk, open_engine
from inference.garbage import collect_and_give_back
from inference.limited_child import Message
from inference.limited_child.report import Report

DISK_FULL = "The disk is full, so the model could not be converted. Free some space and try again."
NO_MEMORY = "There was not enough memory to convert the model."
OPENED_PERCENT, DONE_PERCENT = 30, 95

Write = Callable[[str, Path], dict[str, str]]


def work(request: Message, report: Report) -> dict[str, Any]:
    """Report each target's outcome as a part (see `_Attempt._on_part`); the result itself is empty."""
    paths = {str(target): Path(path) for target, path in dict(request["paths"]).items()}
    try:
        write = _open(request, report)
    except (ModelUnusable, MemoryError) as refusal:
        for target in paths:
            report.part(target=target, **_outcome(refusal, FORMATS[target].word))
        return {}
    for i, (target, path) in enumerate(paths.items()):
        share = (DONE_PERCENT - OPENED_PERCENT) * i // len(paths)
        word = FORMATS[target].word
        report.part(begun=target)
        report.progress(OPENED_PERCENT + share, f"Converting it to {word}.")
        try:
            report.part(target=target, names=write(target, path))
        except Exception as error:
            report.part(target=target, **_outcome(error, word))
        collect_and_give_back()  # memory left by this target would count against the next one
    report.progress(DONE_PERCENT, "Keeping what was converted.")
    return {}


def _open(request: Message, report: Report) -> Write:
    """Open the file with the reference engine; a function that writes a target and returns the names it changed."""
    source, source_format = Path(request["source"]), str(request["source_format"])
    engine_name = FORMATS[source_format].reference
    report.progress(5, f"Opening the file with {engine_name}.")
    settings = EngineSettings(
        graph_inputs=tuple(request["graph_inputs"]),
        graph_outputs=tuple(request["graph_outputs"]),
        is_trusted=bool(request["is_trusted"]),
    )
    engine: Any = open_engine(engine_name, source, source_format, settings)
    convert: Write
    if engine_name == "tensorflow":
        from inference.conversion.from_tensorflow import TracedConversion

        convert = TracedConversion(engine.traced).write
    else:
        from inference.conversion.to_openvino import convert_file

        def convert(target: str, path: Path) -> dict[str, str]:
            convert_file(source, source_format, engine, path)
            return {}

    def write(target: str, path: Path) -> dict[str, str]:
        if target != source_format:
            return convert(target, path)
        shutil.copyfile(source, path)
        return {}

    return write


def _outcome(error: Exception, word: str) -> dict[str, str]:
    """What became of a target. What it cannot express is kept, so a lack of room must not look like that."""
    if isinstance(error, ModelUnusable):
        return {"failed": str(error)}
    if is_for_the_disk(error):
        return {"failed": DISK_FULL}
    if any(isinstance(one, MemoryError) for one in (error, error.__cause__)):
        return {"failed": NO_MEMORY}
    if isinstance(error, CannotConvert):
        return {"cannot": error.operation, "sentence": error.sentence}
    traceback.print_exc()
    return {"failed": f"The conversion to {word} failed: {first_line(error)}"}
