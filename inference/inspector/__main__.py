"""`python -m inference.inspector PARENT MODE inspect PATH checked|trusted` and `… open PATH FORMAT ENGINE`.

MODE is what PORTAL_SANDBOX says. Answers one JSON object on standard output: `{"found": {…}}` or
`{"refused": sentence}`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from inference.processes import die_with_parent
from inference.runner.limits import apply_limits
from inference.runner.sandbox import Allowed, SandboxMissing, enter_as
from inference.workspace import Workspace


def main() -> None:
    parent, mode, verb, path, *rest = sys.argv[1:]
    die_with_parent(int(parent))
    apply_limits()
    answer = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    said: dict[str, Any]
    try:
        level = enter_as(mode, Allowed.for_workspace(Workspace.of_model(Path(path)), descriptors=(answer,)))
        if level.missing:
            sys.stderr.write(f"sandbox {level.name}: {level.missing}\n")
        # Only now: h5py brings NumPy, whose threads would stay outside of Landlock, and the file is not to be trusted.
        said = importlib.import_module("inference.inspector.reading").answer(verb, Path(path), rest)
    except SandboxMissing as missing:
        said = {"refused": str(missing)}
    os.write(answer, json.dumps(said).encode())
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
