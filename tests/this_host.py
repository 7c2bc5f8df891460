"""What this host offers: tests of walls that are not there are skipped."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from inference.runner.sandbox import Level
from inference.workspace import Workspace
from tests.running_portal import ROOT

_PROBE = """
import dataclasses, json, sys
from pathlib import Path
from inference.runner.sandbox import Allowed, enter
from inference.workspace import Workspace
print(json.dumps(dataclasses.asdict(enter(Allowed.for_workspace(Workspace(Path(sys.argv[1])))))))
"""


@cache
def available() -> Level:
    """The level of the sandbox, tried out in a short-lived process."""
    environment = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "workspace")
        workspace.prepare(Path(__file__), "probe")
        command = [sys.executable, "-s", "-P", "-B", "-c", _PROBE, str(workspace.root)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return Level(**json.loads(ended.stdout))
