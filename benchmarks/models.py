"""Models for the measurements: the sample, and MobileNetV2 calibrated so that wrong answers are noticed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.engine_fixtures import all_converted, converted
from tests.running_portal import ROOT

WRITE_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class MeasuredModels:
    """Files for OpenVINO, and the sample for LiteRT."""

    digits: Path
    digits_litert: Path
    mobilenet: Path


def make(folder: Path) -> MeasuredModels:
    """Takes about a minute: TensorFlow writes and converts them."""
    command = [sys.executable, "-m", "tests.engine_models", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=WRITE_LIMIT_S)
    digits = all_converted(folder, ROOT / "samples" / "digits.keras", "keras", ["openvino", "tflite"])
    mobilenet = converted(folder, folder / "mobilenet.keras", "keras", "openvino")
    return MeasuredModels(digits["openvino"].path, digits["tflite"].path, mobilenet.path)
