"""`python -m tests.large_file FOLDER`: a Keras file of 1.2 GB with one input and the right answer to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras

from tests.kept_models import kept, noise

UNITS = 17_000


def main(folder: Path) -> None:
    wide = keras.layers.Dense(UNITS, activation="relu")
    model = keras.Sequential([keras.Input((UNITS,), name="x"), wide, keras.layers.Dense(3, name="answer")])
    model.save(folder / "large.keras")
    kept(folder, "large", model, x=noise(1, UNITS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
