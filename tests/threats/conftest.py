"""The bad files, made once, and a place that is none of their business."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_S = 280


@dataclass(frozen=True, slots=True)
class Live:
    """The files that do something, and the folder in which they would."""

    folder: Path
    outside: Path

    def markers(self) -> list[str]:
        """What somebody's code has written."""
        return sorted(path.name for path in self.outside.iterdir() if path.name not in ("secret", "weights.h5"))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Made by a process with TensorFlow."""
    folder, outside = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("a-secret-word\nanother\n")
    run_with_tensorflow("tests.threats.live_files", str(folder), str(outside))
    made = Live(folder, outside)
    assert made.markers() == []
    return made


def run_with_tensorflow(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
