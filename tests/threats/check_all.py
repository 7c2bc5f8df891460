"""`python -m tests.threats.check_all FOLDER`: checks files as the portal does, one after the other.

In a process of its own, so that what its children took at most can be told from what anything else took. Reads a JSON
object of name → path; writes one of name → `{"sentence", "seconds", "peak_bytes"}`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from inference.checking import check_file
from inference.refusal import FileRejected
from inference.workspace import Workspace


def main() -> None:
    found = {}
    for name, path in json.load(sys.stdin).items():
        began = time.monotonic()
        sentence = _refusal(Path(path), Workspace(Path(sys.argv[1]) / "work"))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        found[name] = {"sentence": sentence, "seconds": time.monotonic() - began, "peak_bytes": peak}
    print(json.dumps(found))


def _refusal(path: Path, workspace: Workspace) -> str:
    try:
        check_file(path, workspace=workspace, is_trusted=False, sandbox="auto", progress=lambda percent, detail: None)
    except FileRejected as refusal:
        return str(refusal)
    return ""


if __name__ == "__main__":
    main()
