"""Files of Keras 2, read from a copy whose description is written as Keras 3 reads it.

The copy is made next to the temporary files of the process and removed after loading. It holds only names that the
file holds too, but for the portal's own `portal>hard_sigmoid`: what passed the allow-list stays what it was.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from inference.engines.keras_old_layers import repair_layer
from inference.engines.keras_old_models import MODELS, check_order, repair_model

_CONFIG, _METADATA = "config.json", "metadata.json"
_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Readable:
    """A path that Keras 3 reads, and the repaired description where it is a copy."""

    path: Path
    config: Any = None

    def check(self, model: Any) -> None:
        """Raises ModelUnusable where Keras has given the file's weights to other layers of `model`."""
        if self.config is not None:
            check_order(self.config, model)


@contextlib.contextmanager
def readable_copy(path: Path, format_name: str) -> Iterator[Readable]:
    """The file itself, or where Keras 2 wrote it a repaired copy, removed after. Raises ModelUnusable."""
    config = _old_config(path, format_name)
    if config is None:
        yield Readable(path)
        return
    repair(config)
    with tempfile.TemporaryDirectory(prefix="keras-") as folder:
        copy = Path(folder) / path.name
        if format_name == "hdf5":
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        else:
            _copy_archive(path, copy, json.dumps(config).encode())
        yield Readable(copy, config)


def repair(config: Any) -> None:
    """Change a description of Keras 2, models in models included, to what Keras 3 reads as the same model.

    Raises ModelUnusable where Keras 3 cannot compute the same.
    """
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                if value["class_name"] in MODELS:
                    repair_model(value)
                repair_layer(value)
            waiting.extend(value.values())


def _old_config(path: Path, format_name: str) -> Any:
    """The description of a file of Keras 2, else None; also where nothing can be read: Keras says so in its own words.

    An HDF5 file that does not say who wrote it is older than all others.
    """
    try:
        if format_name == "hdf5":
            with h5py.File(path, "r") as file:
                text = file.attrs["model_config"]
                version = file.attrs.get("keras_version", file["model_weights"].attrs.get("keras_version", "1"))
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(_CONFIG)
                version = json.loads(archive.read(_METADATA))["keras_version"]
        version = version.decode() if isinstance(version, bytes) else str(version)
        return json.loads(text) if int(version.split(".")[0]) < 3 else None
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile, RecursionError):
        return None


def _copy_archive(source: Path, target: Path, config: bytes) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as new:
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                new.writestr(_CONFIG, config)
            elif not entry.is_dir():
                with old.open(entry) as content, new.open(entry.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(content, copy, _COPY_BYTES)
