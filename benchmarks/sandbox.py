"""Throughput of MobileNetV2 in OpenVINO inside and outside of the sandbox, measured alternately in one run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import models
from benchmarks.row import Row, median
from tests.walled_in import Place, run_in

ROUNDS = 5
CODE = """
enter()
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from inference.engines import EngineSettings, open_engine
cores = len(os.sched_getaffinity(0))
engine = open_engine("openvino", model, "openvino", EngineSettings(streams=cores))
(spec,) = engine.signature.inputs
inputs = {spec.name: np.random.default_rng(0).random((1, *spec.shape[1:]), np.float32)}
def count(until):
    calls = 0
    while time.monotonic() < until:
        engine.run(inputs)
        calls += 1
    return calls
with ThreadPoolExecutor(cores) as pool:
    list(pool.map(count, [time.monotonic() + 0.5] * cores))
    began = time.monotonic()
    calls = sum(pool.map(count, [began + 3.0] * cores))
    say(calls / (time.monotonic() - began))
"""


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="portal-sandbox-") as folder:
        files = models.make(Path(folder))
        rates: dict[str, list[float]] = {"require": [], "off": []}
        for number in range(ROUNDS):
            for mode, found in rates.items():
                directory = Path(folder) / f"{mode}{number}"
                directory.mkdir()
                place = Place.beneath(directory)
                path = place.workspace.model_directory / "model"
                path.unlink()
                path.hardlink_to(files.mobilenet)
                found.append(float(run_in(place, CODE, mode)))
    inside, outside = median(rates["require"]), median(rates["off"])
    shown = f"{inside:.0f}; {outside:.0f} ({inside / outside:.2f})"
    return [Row("MobileNetV2 in OpenVINO, images a second in the sandbox; outside", shown, aim="0.98 or more")]
