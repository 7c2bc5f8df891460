"""Small models that load in a second, and what they answer: python -m tests.served_models FOLDER

`seen`: a picture (N,8,8,1) → three scores that add up to 1. `pair`: two inputs a and b (N,4) → their sum and its total.
`mixed`: a photo (N,32,32,3) and facts (N,4) → the mean of each.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

LABELS = ("dark", "grey", "bright")
WEIGHTS = np.random.default_rng(5).standard_normal((64, 3)).astype(np.float32)


def scores(pixels: np.ndarray) -> np.ndarray:
    """What `seen` answers to (N,8,8,1)."""
    raw = pixels.reshape(len(pixels), 64).astype(np.float64) @ WEIGHTS
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def main(folder: Path) -> None:
    import openvino as ov
    from openvino import opset13 as ops

    def named(node: Any, name: str) -> Any:
        node.output(0).set_names({name})
        return node

    pixels = named(ops.parameter([-1, 8, 8, 1], np.float32), "pixels")
    flat = ops.reshape(pixels, ops.constant(np.array([-1, 64], np.int64)), False)
    answer = named(ops.softmax(ops.matmul(flat, ops.constant(WEIGHTS), False, False), 1), "scores")
    _keep(ov, ov.Model([answer], [pixels], "seen"), folder / "seen")

    a, b = (named(ops.parameter([-1, 4], np.float32), name) for name in "ab")
    both = named(ops.add(a, b), "sum")
    total = named(ops.reduce_sum(both, ops.constant(np.array([1], np.int64)), True), "total")
    _keep(ov, ov.Model([both, total], [a, b], "pair"), folder / "pair")

    photo = named(ops.parameter([-1, 32, 32, 3], np.float32), "photo")
    facts = named(ops.parameter([-1, 4], np.float32), "facts")
    light = named(ops.reduce_mean(photo, ops.constant(np.array([1, 2, 3], np.int64)), False), "light")
    level = named(ops.reduce_mean(facts, ops.constant(np.array([1], np.int64)), False), "level")
    _keep(ov, ov.Model([light, level], [photo, facts], "mixed"), folder / "mixed")


def _keep(ov: Any, model: Any, path: Path) -> None:
    ov.save_model(model, path.with_suffix(".xml"), compress_to_fp16=False)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for suffix in (".xml", ".bin"):
            archive.write(path.with_suffix(suffix), f"model{suffix}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
