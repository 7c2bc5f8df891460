"""Inputs and right answers of a model, kept beside its file: NAME.npz with `x…` inputs and `y…` answers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

_GENERATOR = np.random.default_rng(7)


def kept(folder: Path, name: str, model: Any, **inputs: np.ndarray) -> None:
    values = list(inputs.values())
    is_dict = len(values) > 1 and isinstance(model.input, dict)
    answers = model(inputs if is_dict else values if len(values) > 1 else values[0], training=False)
    outputs = answers if isinstance(answers, dict) else _named(model, tf.nest.flatten(answers))
    keep(folder, name, inputs, {key: value.numpy() for key, value in outputs.items()})


def _named(model: Any, answers: list[Any]) -> dict[str, Any]:
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    if len(set(names)) < len(names):
        names = [f"{name}_{i}" for i, name in enumerate(names)]
    return dict(zip(names, answers, strict=True))


def keep(folder: Path, name: str, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    given = {f"x{name}": array for name, array in inputs.items()}
    np.savez(folder / f"{name}.npz", **given, **{f"y{name}": array for name, array in outputs.items()})


def noise(*shape: int) -> np.ndarray:
    return _GENERATOR.standard_normal(shape).astype(np.float32)
