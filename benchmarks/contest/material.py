"""Makes what all contestants are asked, and the right answers: python -m benchmarks.contest.material FOLDER

A process of its own, because it needs TensorFlow. Writes mobilenet.keras, the same as mobilenet.xml and .bin, sixteen
NN.jpg and answers.json: {"pictures": [[[index, score] × 5] …], "digits": the same with the winner only, "values": the
64 inputs of each digit}. The right answers are Keras' own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import openvino as ov
import tensorflow as tf
from PIL import Image

from benchmarks.client import DIGITS
from tests.calibrated_mobilenet import calibrated_mobilenet
from tests.running_portal import ROOT

PICTURES = 16
WIDTH, HEIGHT = 500, 375
"""The size of an ordinary ImageNet picture."""
GENERATOR = np.random.default_rng(11)


def main(folder: Path) -> None:
    keras.utils.set_random_seed(11)
    model = _mobilenet()
    model.save(folder / "mobilenet.keras")
    call = tf.function(lambda x: model(x, training=False))
    function = call.get_concrete_function(tf.TensorSpec((None, 224, 224, 3), tf.float32, name="x"))
    ov.save_model(ov.convert_model(function), folder / "mobilenet.xml", compress_to_fp16=False)
    values = []
    for number in range(PICTURES):
        path = folder / f"{number:02}.jpg"
        Image.fromarray(_picture()).save(path, quality=90)
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        values.append(np.asarray(small, np.float32) / 127.5 - 1)
    scores = model.predict(np.stack(values), verbose=0)
    answers = {"pictures": [_best(row, 5) for row in scores], **_digits()}
    winners = {top[0][0] for top in answers["pictures"]}
    assert len(winners) > PICTURES / 2, "too many pictures have the same answer: a mix-up would not show"
    (folder / "answers.json").write_text(json.dumps(answers))


def _mobilenet() -> Any:
    noise = np.stack([np.asarray(Image.fromarray(_picture()).resize((224, 224)), np.float32) for _ in range(16)])
    return calibrated_mobilenet(noise / 127.5 - 1, GENERATOR)


def _picture() -> np.ndarray[Any, Any]:
    """Noise of several sizes: as a photograph, it has large shapes and small ones."""
    whole = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for cells, weight in ((3, 70), (9, 45), (40, 25), (150, 10)):
        noise = GENERATOR.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(noise[:, :, channel]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            whole[:, :, channel] += weight * np.asarray(layer)
    return np.clip(whole + GENERATOR.uniform(70, 180, 3), 0, 255).astype(np.uint8)


def _digits() -> dict[str, Any]:
    model = keras.models.load_model(ROOT / "samples" / "digits.keras", compile=False)
    values = []
    for name in DIGITS:
        with Image.open(ROOT / "samples" / "images" / f"{name}.png") as picture:
            small = picture.convert("L").resize((8, 8), Image.Resampling.BILINEAR)
        values.append(np.asarray(small, np.float32)[:, :, None] / 255)
    scores = model.predict(np.stack(values), verbose=0)
    return {"digits": [_best(row, 1) for row in scores], "values": [row.reshape(-1).tolist() for row in values]}


def _best(scores: np.ndarray[Any, Any], count: int) -> list[list[float]]:
    return [[int(i), float(scores[i])] for i in np.argsort(-scores)[:count]]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
