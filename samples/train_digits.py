"""Trains the sample model on scikit-learn's handwritten digits and writes ten pictures to try it with.

    python samples/train_digits.py

Input (N,8,8,1) float32 with 0 for paper and 1 for ink, output (N,10) probabilities. The data: 1,797 digits of 8×8
pixels with 17 levels, from the UCI collection (E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits).
Seeds are fixed and TensorFlow's deterministic operations are on, so that the same versions give the same weights.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE, SHOWN_SIDE = 8, 128
LEAST_ACCURACY = 0.97
SEED = 7


def picture(digit: np.ndarray) -> Image.Image:
    """(8,8) in 0–1 → gray, enlarged without smoothing so that a person sees the pixels the model sees."""
    gray = Image.fromarray(np.rint(digit * 255).astype(np.uint8))
    return gray.resize((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.NEAREST)


def as_served(shown: Image.Image) -> np.ndarray:
    """What the portal makes of a picture: Pillow's bilinear filter to 8×8, divided by 255. (8,8,1) float32."""
    small = shown.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return (np.asarray(small, dtype=np.float32) / 255)[..., np.newaxis]


def build() -> Any:
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1), name="image"),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )


def main() -> int:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()

    data = load_digits()
    drawn = (data.images / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        drawn, data.target, test_size=0.2, random_state=SEED, stratify=data.target
    )
    # Pictures reach the model through a resize that softens them: it learns from both.
    softened = np.stack([as_served(picture(digit)) for digit in train_x])
    seen_x = np.concatenate([train_x[..., np.newaxis], softened])
    seen_y = np.concatenate([train_y, train_y])

    model = build()
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy")
    model.fit(seen_x, seen_y, epochs=30, batch_size=64, verbose=0)

    served = np.stack([as_served(picture(digit)) for digit in test_x])
    scores = model.predict(served, verbose=0)
    accuracy = float(np.mean(model.predict(test_x[..., np.newaxis], verbose=0).argmax(1) == test_y))
    served_accuracy = float(np.mean(scores.argmax(1) == test_y))
    print(f"test accuracy {accuracy:.4f}, through pictures {served_accuracy:.4f}, {len(test_y)} digits held out")
    if min(accuracy, served_accuracy) < LEAST_ACCURACY:
        print(f"Less than {LEAST_ACCURACY}: nothing was saved.")
        return 1

    # A fresh model with the same weights: a trained one would carry its optimizer's state, twice the size of the rest.
    served_model = build()
    served_model.set_weights(model.get_weights())
    served_model.save(HERE / "digits.keras")
    (HERE / "images").mkdir(exist_ok=True)
    for digit, name in enumerate(NAMES):
        best = int(np.argmax(np.where(test_y == digit, scores[:, digit], -1.0)))
        picture(test_x[best]).save(HERE / "images" / f"{name}.png", optimize=True)
    return verify()


def verify() -> int:
    """Loads what was written, asks it about each picture; 1 if one answer is wrong."""
    model = keras.models.load_model(HERE / "digits.keras", compile=False)
    wrong = 0
    for digit, name in enumerate(NAMES):
        with Image.open(HERE / "images" / f"{name}.png") as shown:
            scores = model.predict(as_served(shown)[np.newaxis], verbose=0)[0]
        print(f"{name}.png → {int(scores.argmax())} ({scores.max():.3f})")
        wrong += int(scores.argmax()) != digit
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
