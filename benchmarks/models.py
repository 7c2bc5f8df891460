"""OpenVINO models for the measurements: the sample, and MobileNetV2 calibrated so that wrong answers are noticed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.engine_fixtures import converted
from tests.running_portal import ROOT

WRITE_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class OpenVinoModels:
    digits: Path
    mobilenet: Path


def make(folder: Path) -> OpenVinoModels:
    """Takes about a minute: TensorFlow writes and converts them."""
    command = [sys.executable, "-m", "tests.engine_models", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=WRITE_LIMIT_S)
    digits = converted(folder, ROOT / "samples" / "digits.keras", "keras", "openvino")
    mobilenet = converted(folder, folder / "mobilenet.keras", "keras", "openvino")
    return OpenVinoModels(digits.path, mobilenet.path)
