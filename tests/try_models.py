"""Writes small models whose answers are no classes: python -m tests.try_models FOLDER

A process of its own, because it needs TensorFlow. Their weights are set by hand, so that each right answer is known.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import layers


def main(folder: Path) -> None:
    _several_outputs().save(folder / "several-outputs.keras")
    _raw_scores().save(folder / "raw-scores.keras")
    _two_inputs().save(folder / "two-inputs.keras")


def _several_outputs() -> keras.Model:
    """Of a picture: the picture upside down, its 64 values in a row, their mean."""
    image = keras.Input((8, 8, 1), name="image")
    flipped = keras.ops.flip(image, axis=1)
    drawn = layers.Identity(name="drawn")(flipped)
    features = layers.Flatten(name="features")(image)
    mean = keras.ops.expand_dims(keras.ops.mean(features, axis=1), 1)
    return keras.Model(
        image, {"drawn": drawn, "features": features, "brightness": layers.Identity(name="brightness")(mean)}
    )


def _raw_scores() -> keras.Model:
    """Always 30.18, 15.09 and −4, whatever goes in; scales its own pixels."""
    image = keras.Input((8, 8, 1), name="image")
    seen = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    scores = layers.Dense(3, name="scores")
    model = keras.Model(image, scores(seen))
    scores.set_weights([np.zeros((64, 3), np.float32), np.array([30.18, 15.09, -4], np.float32)])
    return model


def _two_inputs() -> keras.Model:
    """Numbers and whole numbers: their sum as a vector, and their product as one number."""
    numbers, count = keras.Input((4,), name="numbers"), keras.Input((1,), dtype="int32", name="count")
    factor = keras.ops.cast(count, "float32")
    total = layers.Identity(name="total")(keras.ops.add(numbers, factor))
    product = layers.Identity(name="product")(keras.ops.multiply(keras.ops.sum(numbers, axis=1, keepdims=True), factor))
    return keras.Model([numbers, count], {"total": total, "product": product})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
