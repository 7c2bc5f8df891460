"""What executes a model: one small interface, one file an engine. Only a file in here imports an engine's library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inference.signature import Signature

Tensors = Mapping[str, np.ndarray[Any, Any]]

ENGINES_BY_FORMAT: dict[str, tuple[str, ...]] = {
    "keras": ("tensorflow",),
    "hdf5": ("tensorflow",),
    "saved_model": ("tensorflow",),
    "frozen_graph": ("tensorflow",),
    "onnx": ("onnxruntime", "openvino"),
    "tflite": ("litert", "openvino"),
    "openvino": ("openvino",),
}
"""Format → engines that can run it, the reference first."""

ENGINE_NAMES = ("tensorflow",)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What a version asks of its engine."""

    precision: str = "f32"
    threads: int | None = None


class ModelUnusable(Exception):
    """The file cannot be loaded by this engine; the text is a sentence for people."""


class Engine(Protocol):
    """Holds one loaded model. Its methods are called from one thread at a time."""

    signature: Signature
    device: str
    """Where it really runs: `cpu` or `gpu:0`, …"""

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name. Inputs have the signature's dtypes and count the batch. Raises what the library raises."""
        ...

    def close(self) -> None: ...


def open_engine(name: str, path: Path, format_name: str, settings: EngineSettings) -> Engine:
    """Import the library of the engine `name` and load the model at `path`. Raises ModelUnusable with a sentence."""
    if name not in ENGINE_NAMES:
        raise ModelUnusable(f"There is no engine called {name}.")
    module = importlib.import_module(f"inference.engines.{name}")
    engine: Engine = module.load(path, format_name, settings)
    return engine
