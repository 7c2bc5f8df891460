"""`python -m inference.limited_child PARENT MODE WORKSPACE MODULE`: the child's side of `run_child`.

MODE is the value of PORTAL_SANDBOX. Arranges to die with its parent, reads the request, enters the sandbox, and only
then imports MODULE, whose function `work(request, report)` returns the answer. Lines on standard output are JSON
objects with one of the keys `progress` (and `detail`), `part`, `answer`, `unwalled`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from inference.garbage import importing
from inference.host.processes import die_with_parent
from inference.limited_child.report import Report
from inference.runner.limits import apply_limits
from inference.runner.sandbox import Allowed, SandboxMissing, enter_as
from inference.workspace import Workspace


def main() -> None:
    parent, mode, root, module = sys.argv[1:]
    die_with_parent(int(parent))
    apply_limits()
    request = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)  # keeps what libraries print apart from the answer
    report = Report(answer)
    try:
        level = enter_as(mode, Allowed.for_workspace(Workspace(Path(root)), descriptors=(answer,)))
    except SandboxMissing as missing:
        report.send(unwalled=str(missing))
        _leave()
    if level.missing:
        sys.stderr.write(f"sandbox {level.name}: {level.missing}\n")
    # Only now: NumPy and the engines start threads, which would stay outside of Landlock, and files are untrusted.
    with importing():
        worker = importlib.import_module(module)
    found: dict[str, Any] = worker.work(request, report)
    report.send(answer=found)
    _leave()


def _leave() -> None:
    """Exit immediately: an engine's destructors can take seconds."""
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
