"""Repairs files of Keras 2, and those of Keras 3 that it misreads itself, in a copy that Keras 3 reads correctly.

The copy is a temporary file of the process and is removed after loading. The repair adds only classes of Keras and the
portal's own `portal>hard_sigmoid` and `portal>operation`, so what passed the allow-list stays harmless.
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

from inference.engines import ModelUnusable
from inference.engines.keras_cudnn import PlainLayer, convert_weights, made_plain
from inference.engines.keras_old_layers import place_layer, repair_layer
from inference.engines.keras_old_models import check_order, place_wrapped, repair_model
from inference.formats.json_text import objects_in
from inference.formats.keras_names import MODELS, OPERATIONS

_CONFIG, _METADATA = "config.json", "metadata.json"
_COPY_BYTES = 1 << 20
_ELLIPSIS = {"class_name": "__ellipsis__", "config": {}}
_ALL = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}

_OF_IMAGES = (
    "AffineTransform", "CropImages", "ElasticTransform", "ExtractPatches", "GaussianBlur", "HSVToRGB", "MapCoordinates",
    "PadImages", "PerspectiveTransform", "RGBToGrayscale", "RGBToHSV", "Resize", "SSIM", "ScaleAndTranslate",
    "SobelEdges",
)  # fmt: skip
SUBMODULES = {**dict.fromkeys(_OF_IMAGES, ".image"), "Rearrange": ".einops"}
"""Operation → its submodule of `keras.src.ops`; all others are found in `keras.src.ops` itself."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A path that Keras 3 reads, and the repaired description where Keras 2 wrote the file."""

    path: Path
    config: Any = None

    def check(self, model: Any) -> None:
        """Raises ModelUnusable where Keras has given the file's weights to other layers of `model`."""
        if self.config is not None:
            check_order(self.config, model)


@contextlib.contextmanager
def readable_copy(path: Path, format_name: str) -> Iterator[Readable]:
    """The file itself, or a repaired copy that is removed on leaving the context. Raises ModelUnusable."""
    config, version = _description(path, format_name)
    is_old = version < 3
    of_cudnn: list[PlainLayer] = []
    if is_old:
        of_cudnn = repair(config)
    elif format_name != "hdf5" or not sum(_place_operation(item) or place_layer(item) for item in _parts(config)):
        yield Readable(path)
        return
    with tempfile.TemporaryDirectory(prefix="keras-") as folder:
        copy = Path(folder) / path.name
        if format_name == "hdf5":
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
                convert_weights(file, of_cudnn)
        elif of_cudnn:
            raise ModelUnusable(
                f"The layer '{of_cudnn[0].name[:80]}' was made for cuDNN, and its weights are read from HDF5 only. "
                "Save the model as .h5 with the Keras that made it."
            )
        else:
            _copy_archive(path, copy, json.dumps(config).encode())
        yield Readable(copy, config if is_old else None)


def repair(config: Any) -> list[PlainLayer]:
    """Change a description of Keras 2, nested models included, to what Keras 3 reads as the same model. Returns the
    layers whose weights have to be converted too.

    Raises ModelUnusable where Keras 3 cannot compute the same.
    """
    of_cudnn = []
    for item in _parts(config):
        if layer := made_plain(item):
            of_cudnn.append(layer)
        if item["class_name"] in MODELS:
            repair_model(item)
        place_wrapped(item)
        repair_layer(item)
    return of_cudnn


def _place_operation(item: dict[str, Any]) -> bool:
    """Add the module of an operation between layers: HDF5 leaves it out, and Keras 3 would look among its layers, some
    of which have the same names. Returns whether this is such an operation."""
    name, config = item["class_name"], item.get("config")
    is_layer = not isinstance(config, dict) or "trainable" in config
    if name not in OPERATIONS or is_layer or "inbound_nodes" not in item or "module" in item:
        return False
    item["module"] = f"keras.src.ops{SUBMODULES.get(name, '')}"
    if name == "GetItem":
        for call in item["inbound_nodes"]:
            _spell_out(*call["args"])
    return True


def _spell_out(tensor: Any, key: Any) -> None:
    """Replace `...` by the slices for which it stands: in HDF5, Keras 3 parses it before it can handle it."""
    if isinstance(key, list) and _ELLIPSIS in key:
        at, axes = key.index(_ELLIPSIS), sum(one is not None for one in key) - 1
        key[at : at + 1] = [_ALL] * (len(tensor["config"]["shape"]) - axes)


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Each dict with a class_name, outermost first."""
    return (item for item in objects_in(config) if isinstance(item.get("class_name"), str))


def _description(path: Path, format_name: str) -> tuple[Any, int]:
    """The model's description, and the major version of the Keras that wrote it.

    An HDF5 file without a version counts as 1, older than all others. Where nothing can be read this is (None, 3), so
    that nothing is repaired and Keras reports the error itself.
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
        return json.loads(text), int(version.split(".")[0])
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile, RecursionError):
        return None, 3


def _copy_archive(source: Path, target: Path, config: bytes) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as new:
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                new.writestr(_CONFIG, config)
            elif not entry.is_dir():
                with old.open(entry) as content, new.open(entry.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(content, copy, _COPY_BYTES)
