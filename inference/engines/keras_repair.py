"""Files of Keras 2 that Keras 3 refuses for something that does not matter: read from a copy without it.

The copy is made only where something has to go, next to the temporary files of the process, and removed after loading.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from inference.engines import ModelUnusable

# Arguments that Keras 2 wrote at their only value that Keras 3 still computes.
_GROUPED = (
    *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D"),
    *("SeparableConvolution2D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Convolution1DTranspose"),
    *("Convolution2DTranspose", "Convolution3DTranspose"),
)
_RECURRENT = ("RNN", "SimpleRNN", "LSTM", "GRU")
_OLD_ARGUMENTS: dict[str, tuple[str, object]] = {
    **dict.fromkeys(_GROUPED, ("groups", 1)),
    **dict.fromkeys(_RECURRENT, ("time_major", False)),
}
_OLD_POLICIES = frozenset({"Policy", "PolicyV1"})
_OLD_ENGINE = re.compile(r"keras(\.src)?\.engine\.\w+|keras\.models\.\w+")
_HOMES = {"Functional": "keras.src.models.functional", "Model": "keras", "Sequential": "keras"}
_CONFIG = "config.json"
_COPY_BYTES = 1 << 20


@contextlib.contextmanager
def readable_copy(path: Path, format_name: str) -> Iterator[Path]:
    """A path that Keras 3 reads: the file itself, or a repaired copy that is removed after. Raises ModelUnusable."""
    config = _config_of(path, format_name)
    if config is None or not repair(config):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="keras-") as folder:
        copy = Path(folder) / path.name
        if format_name == "hdf5":
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        else:
            _copy_archive(path, copy, json.dumps(config).encode())
        yield copy


def repair(config: Any) -> bool:
    """Take out of a model's description what Keras 3 does not know; whether there was any. Changes `config` itself.

    Raises ModelUnusable where such an argument has a value that means something.
    """
    is_changed = False
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            is_changed |= _repair_item(value)
            waiting.extend(value.values())
    return is_changed


def _repair_item(item: dict[str, Any]) -> bool:
    class_name, inner, module = item.get("class_name"), item.get("config"), item.get("module")
    if not isinstance(class_name, str):
        return False
    is_changed = False
    if class_name in _HOMES and isinstance(module, str) and _OLD_ENGINE.fullmatch(module):
        item["module"] = _HOMES[class_name]
        is_changed = True
    if class_name == "Sequential":
        return _repair_sequential(item) or is_changed
    if not isinstance(inner, dict):
        return is_changed
    argument, harmless = _OLD_ARGUMENTS.get(class_name, ("", None))
    if argument in inner:
        if inner[argument] not in (harmless, None):
            name = str(inner.get("name", class_name))[:80]
            raise ModelUnusable(
                f"The layer '{name}' has {argument} = {str(inner[argument])[:20]}, which Keras 3 cannot compute. "
                "Build the model again in Keras 3."
            )
        del inner[argument]
        is_changed = True
    policy = inner.get("dtype")
    if isinstance(policy, dict) and policy.get("class_name") in _OLD_POLICIES:
        inner["dtype"] = (policy.get("config") or {}).get("name", "float32")
        is_changed = True
    return is_changed


def _repair_sequential(item: dict[str, Any]) -> bool:
    """Before 2.2.3 Keras wrote the bare list of layers. It left the input out and wrote its shape into the first layer,
    where Keras 3 reads it without the batch: as of one axis more."""
    is_bare = isinstance(item["config"], list)
    if is_bare:
        item["config"] = {"name": item.get("name", "sequential"), "layers": item["config"]}
    layers = item["config"].get("layers") if isinstance(item["config"], dict) else None
    first = layers[0] if isinstance(layers, list) and layers else None
    inner = first.get("config") if isinstance(first, dict) and first.get("class_name") != "InputLayer" else None
    if not isinstance(layers, list) or not isinstance(inner, dict) or "batch_input_shape" not in inner:
        return is_bare
    dtype = inner.get("dtype")
    given = {
        "name": f"{inner.get('name', 'first')}_input",
        "batch_input_shape": inner.pop("batch_input_shape"),
        "dtype": dtype if isinstance(dtype, str) else "float32",
    }
    layers.insert(0, {"class_name": "InputLayer", "config": given})
    return True


def _config_of(path: Path, format_name: str) -> Any:
    """The description, or None where there is none that can be read: Keras says so in its own words."""
    try:
        if format_name == "hdf5":
            with h5py.File(path, "r") as file:
                text = file.attrs["model_config"]
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(_CONFIG)
        return json.loads(text)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, RecursionError):
        return None


def _copy_archive(source: Path, target: Path, config: bytes) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as new:
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                new.writestr(_CONFIG, config)
            elif not entry.is_dir():
                with old.open(entry) as content, new.open(entry.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(content, copy, _COPY_BYTES)
