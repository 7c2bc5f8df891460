"""Converts CuDNNLSTM and CuDNNGRU of Keras 2, whose weights HDF5 holds in cuDNN's layout, to LSTM and GRU.

Keras 2 did the same when such weights were loaded into the plain layers (`_convert_rnn_weights` in tf_keras 2.21,
src/saving/legacy/hdf5_format.py): the kernel of each gate is transposed, the input kernel in Fortran order; an LSTM
adds its two biases, a GRU keeps both (`reset_after`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from inference.engines import ModelUnusable

Array = np.ndarray[Any, Any]

_PLAIN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_GATES = {"LSTM": 4, "GRU": 3}
_ELSEWHERE = (
    "The weights of the layer '{name}', which was made for cuDNN, are not where HDF5 has them. Load them with the "
    "Keras that made the file into the same model with plain layers, and save that."
)


@dataclass(frozen=True, slots=True)
class PlainLayer:
    """A layer that was made for cuDNN: its name in the file, its new class, and its size."""

    name: str
    class_name: str
    units: int


def made_plain(item: dict[str, Any]) -> PlainLayer | None:
    """Change the description of a cuDNN layer to that of the plain layer; None for any other layer."""
    class_name, config = _PLAIN.get(item["class_name"]), item.get("config")
    if class_name is None or not isinstance(config, dict):
        return None
    item["class_name"] = class_name
    if class_name == "GRU":
        config["reset_after"] = True
    return PlainLayer(str(config.get("name")), class_name, int(config["units"]))


def convert_weights(file: h5py.File, layers: Sequence[PlainLayer]) -> None:
    """Convert the weights of these layers in the file. Raises ModelUnusable where they are not found."""
    prefixes = ("", "forward_", "backward_")  # a Bidirectional has two such layers
    by_group = {f"{prefix}{layer.name}": layer for layer in layers for prefix in prefixes}
    groups: list[h5py.Group] = []
    file["model_weights"].visititems(lambda _, item: _collect(item, by_group, groups))
    converted = {by_group[_last(group)].name for group in groups if _convert(group, by_group[_last(group)])}
    for layer in layers:
        if layer.name not in converted:
            raise ModelUnusable(_ELSEWHERE.format(name=layer.name[:80]))


def _collect(item: Any, by_group: Mapping[str, PlainLayer], groups: list[h5py.Group]) -> None:
    if isinstance(item, h5py.Group) and _last(item) in by_group:
        groups.append(item)


def _last(group: h5py.Group) -> str:
    return str(group.name).rpartition("/")[2]


def _convert(group: h5py.Group, layer: PlainLayer) -> bool:
    """Convert the weights in this group. False where they are in an inner group of the same name."""
    arrays = {key.partition(":")[0]: key for key, item in group.items() if isinstance(item, h5py.Dataset)}
    if set(arrays) != {"kernel", "recurrent_kernel", "bias"}:
        return False
    gates = _GATES[layer.class_name]
    if group[arrays["bias"]].shape != (2 * gates * layer.units,):
        return False
    for name, change in (("kernel", _transposed_input), ("recurrent_kernel", np.transpose)):
        parts = np.hsplit(group[arrays[name]][()], gates)
        _replace(group, arrays[name], np.hstack([change(part) for part in parts]))
    both = group[arrays["bias"]][()].reshape(2, -1)
    _replace(group, arrays["bias"], both if layer.class_name == "GRU" else both.sum(axis=0))
    return True


def _transposed_input(kernel: Array) -> Array:
    return kernel.T.reshape(kernel.shape, order="F")


def _replace(group: h5py.Group, key: str, array: Array) -> None:
    del group[key]
    group[key] = array
