"""Makes small model files by hand, good and bad, without an engine: zipfile, h5py, JSON. Tells why one is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inference.formats import FileRejected, inspect_file

Json = dict[str, Any]
INPUTS, UNITS = 4, 3


def refusal(path: Path) -> str:
    """The sentence with which the file is refused."""
    with pytest.raises(FileRejected) as caught:
        inspect_file(path)
    return caught.value.message


def layer(class_name: str, name: str, module: str | None = "keras.layers", **config: Any) -> Json:
    """A layer as Keras 3 writes it."""
    registered = None if module == "keras.layers" else class_name
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": name, **config},
        "registered_name": registered,
    }


def function(module: str, name: str) -> Json:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def dense(name: str = "answer", **config: Any) -> Json:
    return layer("Dense", name, **{"units": UNITS, "activation": "softmax", **config})


def sequential(*layers: Json) -> Json:
    first = layer("InputLayer", "pixels", batch_shape=[None, INPUTS], dtype="float32")
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "small", "layers": [first, *layers]},
        "registered_name": "Sequential",
    }


def old_sequential(*layers: Json) -> Json:
    """As Keras 2 writes it into HDF5: no modules, no registered names."""
    bare = [{"class_name": one["class_name"], "config": one["config"]} for one in layers]
    return {"class_name": "Sequential", "config": {"name": "small", "layers": bare}}


def weights_bytes(fill: Callable[[h5py.File], None] | None = None) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        variables = file.create_group("layers/dense/vars")
        variables.create_dataset("0", data=np.ones((INPUTS, UNITS), np.float32))
        variables.create_dataset("1", data=np.zeros(UNITS, np.float32))
        if fill:
            fill(file)
    return out.getvalue()


def keras_zip(
    path: Path,
    config: Json | str | bytes | None = None,
    *,
    without: Sequence[str] = (),
    weights: bytes | None = None,
    extra: Sequence[tuple[str | zipfile.ZipInfo, bytes]] = (),
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """A .keras archive with one Dense layer, unless told otherwise; `without` leaves entries out."""
    if config is None:
        config = sequential(dense())
    text = config if isinstance(config, str | bytes) else json.dumps(config)
    entries = {
        "metadata.json": json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}),
        "config.json": text,
        "model.weights.h5": weights_bytes() if weights is None else weights,
    }
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            if name not in without:
                archive.writestr(name, content)
        for entry, content in extra:
            archive.writestr(entry, content)
    return path


def hdf5_model(
    path: Path, config: Json | str | None = None, *, fill: Callable[[h5py.File], None] | None = None
) -> Path:
    """A Keras 2 model file with one Dense layer, unless told otherwise; `fill` adds to it."""
    if config is None:
        config = old_sequential(dense())
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"] = np.bytes_(b"2.15.0")
        weights = file.create_group("model_weights/answer")
        weights.create_dataset("kernel:0", data=np.ones((INPUTS, UNITS), np.float32))
        weights.create_dataset("bias:0", data=np.zeros(UNITS, np.float32))
        if fill:
            fill(file)
    return path
