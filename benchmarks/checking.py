"""The time that the check of a large file takes beyond importing its engine and hashing the file."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from benchmarks.row import Bench, Row
from inference.checking import check_file
from inference.workspace import Workspace
from tests.model_files import dense, keras_zip, sequential
from tests.running_portal import ROOT

WIDTH = 5000
"""A Dense layer of WIDTH × WIDTH float32 takes 100 MB."""


@dataclass(frozen=True, slots=True)
class CheckCost:
    """Seconds of the whole check, of a process that only imports the engine, and of the file's SHA-256."""

    check_s: float
    import_s: float
    hash_s: float

    @property
    def above_s(self) -> float:
        return self.check_s - self.import_s - self.hash_s


def measure(bench: Bench) -> list[Row]:
    cost = check_cost()
    parts = f"{cost.check_s:.1f} s, import {cost.import_s:.1f} s, hash {cost.hash_s:.1f} s"
    return [Row("Check of a 100 MB model above import and hash", f"{cost.above_s:.1f} s ({parts})", "3 s")]


def check_cost() -> CheckCost:
    """The import is measured after the check, so that a library that was not in the page cache counts for the check."""
    with tempfile.TemporaryDirectory() as folder:
        path = _large_model(Path(folder) / "large.keras")
        began = time.perf_counter()
        check_file(
            path,
            workspace=Workspace(Path(folder) / "work"),
            is_trusted=False,
            sandbox="auto",
            progress=lambda percent, detail: None,
        )
        check_s = time.perf_counter() - began
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import inference.engines.tensorflow"], cwd=ROOT, check=True,
                       capture_output=True)  # fmt: skip
        import_s = time.perf_counter() - began
        began = time.perf_counter()
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        return CheckCost(check_s, import_s, time.perf_counter() - began)


def _large_model(path: Path) -> Path:
    config = sequential(dense(units=WIDTH))
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, WIDTH]
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables.create_dataset("0", data=np.full((WIDTH, WIDTH), 0.01, np.float32))
        variables.create_dataset("1", data=np.zeros(WIDTH, np.float32))
    return keras_zip(path, config, weights=weights.getvalue())
