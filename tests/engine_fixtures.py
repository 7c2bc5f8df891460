"""What the tests of engines, conversion and comparison share: models, one process for many runs, conversions."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inference.conversion import Converted, convert
from inference.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Ran:
    """What one engine said of a file and answered."""

    facts: dict[str, Any]
    outputs: Arrays

    @property
    def only(self) -> np.ndarray:
        (array,) = self.outputs.values()
        return array


@dataclass(frozen=True, slots=True)
class Task:
    """A file to run in an engine; `settings` as tests.engine_process reads them."""

    engine: str
    format: str
    path: Path
    inputs: Arrays | None = None
    settings: tuple[tuple[str, Any], ...] = ()


def run_engines(folder: Path, *tasks: Task) -> list[Ran]:
    """Run the tasks one after the other in one process of their own."""
    asked = []
    for i, task in enumerate(tasks):
        item: dict[str, Any] = {"engine": task.engine, "format": task.format, "path": str(task.path)}
        if task.inputs is not None:
            np.savez(folder / f"inputs{i}.npz", **task.inputs)
            item |= {"inputs": str(folder / f"inputs{i}.npz"), "outputs": str(folder / f"outputs{i}.npz")}
        asked.append(item | dict(task.settings))
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine_process"],
        input=json.dumps(asked),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        Ran(facts, dict(np.load(item["outputs"])) if "outputs" in item and "unusable" not in facts else {})
        for item, facts in zip(asked, json.loads(done.stdout), strict=True)
    ]


def write_models(module: str, folder: Path, limit_s: float, *names: str) -> Path:
    """The folder, filled by `python -m module folder names`, a process of its own: TensorFlow stays in memory."""
    command = [sys.executable, "-m", module, str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def converted(folder: Path, source: Path, source_format: str, target: str) -> Converted:
    """Convert into `folder`, which keeps the file. Raises what stands in the way."""
    return all_converted(folder, source, source_format, [target])[target]


def all_converted(folder: Path, source: Path, source_format: str, targets: Sequence[str]) -> dict[str, Converted]:
    """Convert into `folder` in one child, which keeps the files. Raises what stands in the way of one."""
    workspace = Workspace(folder / f"{source.stem}-{source_format}-{'-'.join(targets)}")
    made: dict[str, Converted] = {}
    for target, outcome in convert(source, source_format, targets, workspace, progress=_quiet, sandbox="auto").items():
        if isinstance(outcome, Exception):
            raise outcome
        made[target] = outcome
    return made


def _quiet(percent: int, detail: str) -> None:
    pass


def model_data(models: Path, name: str) -> tuple[Arrays, Arrays]:
    """Inputs and right answers of a model of tests.engine_models."""
    with np.load(models / f"{name}.npz") as data:
        arrays = dict(data)
    return (
        {key[1:]: array for key, array in arrays.items() if key[0] == "x"},
        {key[1:]: array for key, array in arrays.items() if key[0] == "y"},
    )


def difference(got: Arrays, expected: Arrays) -> float:
    """The largest absolute difference; the names must be the same."""
    assert set(got) == set(expected)
    return max(float(np.abs(got[name] - expected[name]).max()) for name in expected)


def face_inputs(picture: bytes, count: int = 10) -> np.ndarray:
    """Pictures as `fer` takes them, (count,64,64,1): the face, then cut more and more tightly."""
    with Image.open(io.BytesIO(picture)) as opened:
        gray = opened.convert("L")
    boxes = [(i * 2, i * 2, gray.width - i * 2, gray.height - i * 2) for i in range(count)]
    small = [np.asarray(gray.crop(box).resize((64, 64), Image.Resampling.BILINEAR), np.float32) for box in boxes]
    return (np.stack(small)[..., None] / 127.5 - 1).astype(np.float32)


def page_inputs(picture: bytes, turned: int) -> np.ndarray:
    """A page as `orientation` takes it, (1,3,224,224): turned, short side 256, centre 224, as imagenet-torch."""
    with Image.open(io.BytesIO(picture)) as opened:
        page = opened.convert("RGB").rotate(turned, expand=True)
    factor = 256 / min(page.size)
    page = page.resize((round(page.width * factor), round(page.height * factor)), Image.Resampling.BILINEAR)
    left, top = (page.width - 224) // 2, (page.height - 224) // 2
    pixels = np.asarray(page.crop((left, top, left + 224, top + 224)), np.float32) / 255
    scaled = (pixels - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    return scaled.transpose(2, 0, 1)[None].astype(np.float32)


def said_by(code: str, *arguments: str) -> str:
    """What a fresh process prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip()
