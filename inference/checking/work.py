"""The work of a checking child: find out what a file is, without an engine, or whether an engine can open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inference.engines import DISK_FULL, EngineSettings, ModelUnusable, open_engine
from inference.errors import is_disk_full
from inference.formats import FileRejected, inspect_file
from inference.limited_child import Message
from inference.limited_child.report import Report
from inference.refusal import FileUnsafe


def work(request: Message, report: Report) -> dict[str, Any]:
    """The facts, or `{"refused": sentence, "is_unsafe": whether by the allow-list alone}`. What may be chosen as the
    ends of a frozen graph is a part by itself: it is known of rejected files too."""
    try:
        return _inspect(request, report) if request["verb"] == "inspect" else _open(request)
    except (FileRejected, ModelUnusable) as refusal:
        return {"refused": str(refusal), "is_unsafe": isinstance(refusal, FileUnsafe)}
    except OSError as error:
        if not is_disk_full(error):
            raise
        return {"refused": DISK_FULL, "is_unsafe": False}


def _inspect(request: Message, report: Report) -> dict[str, Any]:
    facts = inspect_file(
        Path(request["path"]),
        inputs=request["graph_inputs"],
        outputs=request["graph_outputs"],
        is_trusted=request["is_trusted"],
        on_candidates=lambda ends: report.part(candidates=ends),
    )
    return {"format": facts.format, "labels": list(facts.labels), "notes": list(facts.notes)}


def _open(request: Message) -> dict[str, Any]:
    settings = EngineSettings(
        graph_inputs=tuple(request["graph_inputs"]),
        graph_outputs=tuple(request["graph_outputs"]),
        is_trusted=request["is_trusted"],
    )
    engine = open_engine(request["engine"], Path(request["path"]), request["format"], settings)
    return {"signature": engine.signature.as_json()}
