"""Load time of MobileNetV2 in TensorFlow: in a bare process, through the portal, into a warm spare process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contest import environments
from benchmarks.row import Row, median
from tests.running_portal import ROOT, Api, RunningPortal, running_portal, wait_for

TIMES = 3
BARE = """
import sys, keras, numpy as np, tensorflow as tf
model = keras.models.load_model(sys.argv[1], compile=False)
call = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec((None, 224, 224, 3)))
for _ in range(2):
    call(tf.zeros((1, 224, 224, 3))).numpy()
"""
"""What a runner does before it is ready: load, trace, and answer twice."""


def measure() -> list[Row]:
    """Takes about a minute and a half, once the model is made."""
    path = environments.material() / "mobilenet.keras"
    bare_s, cold_s, spare_s = [], [], []
    with tempfile.TemporaryDirectory(prefix="portal-tensorflow-") as folder:
        with running_portal(Path(folder) / "cold", PORTAL_SAMPLE="0", PORTAL_SLOTS="2") as portal:
            api = _with_model(portal, path)
            for _ in range(TIMES):
                cold_s.append(_load_and_unload(api))
                bare_s.append(_bare(path))
        environment = {"PORTAL_SAMPLE": "0", "PORTAL_SLOTS": "2", "PORTAL_WARM_SPARES": "1"}
        with running_portal(Path(folder) / "warm", **environment) as portal:
            api = _with_model(portal, path)
            for _ in range(TIMES):
                wait_for(portal.spares, 120, "a process is warm")
                spare_s.append(_load_and_unload(api))
    cold, bare, spare = (median(seconds) for seconds in (cold_s, bare_s, spare_s))
    return [
        Row(
            f"Load of MobileNetV2 in TensorFlow; a bare process, p50 of {TIMES}",
            f"{cold:.2f} s; {bare:.2f} s ({cold / bare:.2f} times)",
            aim="1.15 times or less",
        ),
        Row("The same with a warm spare", f"{spare:.2f} s", aim="1.5 s or less"),
    ]


def _with_model(portal: RunningPortal, path: Path) -> Api:
    api = portal.client()
    api.upload("large", path, engine="tensorflow", preprocessing='{"preset": "symmetric"}')
    return api


def _load_and_unload(api: Api) -> float:
    began = time.perf_counter()
    api.load("large")
    seconds = time.perf_counter() - began
    api.unload("large")
    return seconds


def _bare(path: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE, str(path)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    return time.perf_counter() - began
