"""`python -m inference.checking PARENT inspect PATH checked|trusted` and `… open PATH FORMAT ENGINE`.

Answers one JSON object on standard output: `{"found": {…}}` or `{"refused": sentence}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from inference.engines import EngineSettings, ModelUnusable, open_engine
from inference.formats import FileRejected, inspect_file
from inference.processes import die_with_parent
from inference.runner.limits import apply_limits


def main() -> None:
    parent, verb, path, *rest = sys.argv[1:]
    die_with_parent(int(parent))
    apply_limits()
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    try:
        said: dict[str, Any] = {
            "found": _inspect(Path(path), rest[0]) if verb == "inspect" else _open(Path(path), *rest)
        }
    except (FileRejected, ModelUnusable) as refusal:
        said = {"refused": str(refusal)}
    os.write(answer, json.dumps(said).encode())
    sys.stderr.flush()
    os._exit(0)


def _inspect(path: Path, mode: str) -> dict[str, Any]:
    facts = inspect_file(path)
    return {"format": facts.format, "suffix": facts.suffix, "labels": list(facts.labels)}


def _open(path: Path, format_name: str, engine_name: str) -> dict[str, Any]:
    engine = open_engine(engine_name, path, format_name, EngineSettings())
    return {"signature": engine.signature.as_json()}


if __name__ == "__main__":
    main()
