"""What the inspector is asked: what a file is, without an engine, and whether an engine opens it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.engines import EngineSettings, ModelUnusable, open_engine
from inference.formats import FileRejected, inspect_file


def answer(verb: str, path: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """`{"found": facts}` or `{"refused": sentence}`; `inspect` takes checked|trusted, `open` a format and an engine."""
    try:
        return {"found": _inspect(path, arguments[0]) if verb == "inspect" else _open(path, *arguments)}
    except (FileRejected, ModelUnusable) as refusal:
        return {"refused": str(refusal)}


def _inspect(path: Path, mode: str) -> dict[str, Any]:
    facts = inspect_file(path, is_trusted=mode == "trusted")
    return {"format": facts.format, "labels": list(facts.labels)}


def _open(path: Path, format_name: str, engine_name: str) -> dict[str, Any]:
    engine = open_engine(engine_name, path, format_name, EngineSettings())
    return {"signature": engine.signature.as_json()}
