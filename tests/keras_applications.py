"""Writes real models of Keras into a folder: python -m tests.keras_applications FOLDER [ARCHITECTURE …]

For the tests of inference.formats; a process of its own, because they import no engine. Writes NAME.json and NAME.count
(how many weights) for these architectures, without trained weights. Where none is named: for MobileNetV2, with whole
files of it, of small models, and unknown.json: names on the allow-list that the installed Keras does not have.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
from keras import layers

from inference.formats import keras_names as names

SMALL_MODELS = ("text", "operations", "nested", "vocabulary", "mixed", "int8")


def main(folder: Path, architectures: list[str]) -> None:
    if architectures:
        for name in architectures:
            _write_architecture(folder, name)
            keras.backend.clear_session()
            gc.collect()
        return
    model = _write_architecture(folder, "MobileNetV2")
    model.save(folder / "whole.keras")
    model.save(folder / "whole.h5")
    for name, model in zip(
        SMALL_MODELS, (_text(), _operations(), _nested(), _vocabulary(), _mixed(), _int8()), strict=True
    ):
        model.save(folder / f"{name}.keras")
    _old_custom().save(folder / "custom.h5")
    (folder / "unknown.json").write_text(json.dumps(_unknown_names()))


def _write_architecture(folder: Path, name: str) -> keras.Model:
    model = getattr(keras.applications, name)(weights=None)
    (folder / f"{name}.json").write_text(model.to_json())
    (folder / f"{name}.count").write_text(str(model.count_params()))
    return model


def _text() -> keras.Model:
    words = keras.Input((12,))
    seen = layers.Embedding(50, 8)(words)
    seen = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(seen, seen) + seen)
    seen = layers.GRU(5)(layers.Bidirectional(layers.LSTM(6, return_sequences=True))(seen))
    return keras.Model(words, layers.Dense(3, activation="softmax")(seen))


def _operations() -> keras.Model:
    pixels = keras.Input((16, 16, 3))
    seen = keras.ops.relu(layers.Rescaling(1 / 255)(layers.RandomFlip()(pixels)))
    seen = keras.ops.mean(seen, axis=[1, 2])[:, :2]
    last = layers.Dense(2, kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(2))
    return keras.Model(pixels, last(seen))


def _nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(4, activation=keras.activations.gelu)])
    inner.compile("adam", "mse", metrics=["mae", keras.metrics.AUC()])
    outer = keras.Sequential([keras.Input((8,)), inner, layers.Dense(1)])
    outer.compile("sgd", lambda truth, answer: keras.ops.mean(truth - answer))
    return outer


def _vocabulary() -> keras.Model:
    word = keras.Input((1,), dtype="string")
    number = layers.StringLookup(vocabulary=["cat", "dog"], output_mode="one_hot")(word)
    return keras.Model(word, layers.Dense(2)(number))


def _mixed() -> keras.Model:
    policy = "mixed_float16"
    seen = [layers.Conv2D(4, 3, activation="leaky_relu", dtype=policy), layers.SeparableConv2D(4, 3, dtype=policy)]
    return keras.Sequential(
        [keras.Input((8, 8, 3)), *seen, layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(2)]
    )


def _int8() -> keras.Model:
    model = keras.Sequential([keras.Input((32,)), layers.Dense(16), layers.Dense(4)])
    model.quantize("int8")
    return model


class Mine(layers.Layer):
    def call(self, values: object) -> object:
        return values


def _old_custom() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), Mine(name="odd"), layers.Dense(2)])


def _unknown_names() -> list[str]:
    homes = {
        keras.layers: names.LAYERS,
        keras.models: names.MODELS - {"Functional"},
        keras.initializers: names.INITIALIZERS | names.INITIALIZER_FUNCTIONS,
        keras.regularizers: names.REGULARIZERS | names.REGULARIZER_FUNCTIONS,
        keras.constraints: names.CONSTRAINTS | names.CONSTRAINT_FUNCTIONS,
        keras.activations: names.ACTIVATIONS,
        keras.dtype_policies: names.POLICIES - {"Policy", "PolicyV1"},
        keras.quantizers: names.QUANTIZERS,
    }
    return [
        name
        for home, listed in homes.items()
        for name in sorted(listed - {getattr(thing, "__name__", "") for thing in vars(home).values()})
        if not hasattr(home, name)
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
