"""Memory of a runner against a bare Python process that holds the same model.

Both are read at the same moment. PSS divides a shared page by its users, so any other TensorFlow process on the machine
makes a figure smaller: read one after the other, the same two processes came out as 637 and 398 MB. So the ratio is of
PSS; shown beside it is each one's RSS, which counts shared pages whole and does not depend on other processes.
"""

from __future__ import annotations

import subprocess
import sys

import psutil

from benchmarks.row import Bench, Row, megabytes
from inference.host.processes import memory_bytes
from tests.running_portal import ROOT

BARE_LIMIT_S = 120.0
BARE = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1], compile=False)
model(np.zeros([1, *model.input_shape[1:]], "float32"))
print("ready", flush=True)
sys.stdin.read()
"""


def measure(bench: Bench) -> list[Row]:
    """With the first model loaded."""
    runner_pid = bench.portal.client().pid(bench.first)
    with subprocess.Popen(
        [sys.executable, "-c", BARE, str(ROOT / "samples" / "digits.keras")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as bare:
        assert bare.stdin is not None and bare.stdout is not None
        is_ready = bare.stdout.readline().startswith(b"ready")
        of_runner, of_bare = memory_bytes(runner_pid), memory_bytes(bare.pid)
        resident = [psutil.Process(pid).memory_info().rss for pid in (runner_pid, bare.pid)] if is_ready else [0, 0]
        bare.stdin.close()
        bare.wait(BARE_LIMIT_S)
    if not is_ready or not of_runner or not of_bare:
        return [Row("Memory of a runner", "not measured", failures=1)]
    shown = f"{of_runner / of_bare:.2f} ({megabytes(resident[0])} against {megabytes(resident[1])} resident)"
    return [Row("Memory of a runner against a bare process with the same model, ratio of PSS", shown)]
