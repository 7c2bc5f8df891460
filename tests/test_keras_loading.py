"""Files of Keras are read without drawing random values, and small weights become constants of the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.engine_fixtures import said_by

DRAWN = """
import json
import keras
from inference.engines.keras_initializers import no_random_values

KINDS = ["glorot_uniform", "he_normal", "lecun_uniform", "random_uniform", "random_normal", "truncated_normal",
         "orthogonal"]

def drawn():
    made = [keras.layers.Dense(4, kernel_initializer=kind) for kind in KINDS]
    for layer in made:
        layer.build((None, 4))
    return [kind for kind, layer in zip(KINDS, made) if layer.kernel.numpy().any()]

with no_random_values():
    within = drawn()
try:
    with no_random_values():
        raise ValueError
except ValueError:
    pass
print(json.dumps([within, drawn() == KINDS]))
"""


READ_IN_A_CALL = """
import json
import sys
from pathlib import Path
import keras
import tensorflow as tf
from inference.engines import EngineSettings
from inference.engines.tensorflow import load

pixels = keras.Input((8, 8, 32))
seen = keras.layers.BatchNormalization()(keras.layers.Conv2D(64, 3)(pixels))
path = Path(sys.argv[1])
keras.Model(pixels, keras.layers.Dense(2)(seen)).save(path)
traced = load(path, "keras", EngineSettings()).traced
called = tf.function(traced.call, autograph=False).get_concrete_function(tf.TensorSpec((None, 8, 8, 32)))
print(json.dumps([len(traced.variables), [list(variable.shape) for variable in called.variables]]))
"""


def said(program: str, *arguments: str) -> Any:
    return json.loads(said_by(program, *arguments).splitlines()[-1])


def test_weights_begin_as_zeros_only_while_a_file_is_read() -> None:
    assert said(DRAWN) == [[], True]


def test_a_call_reads_large_weights_only(tmp_path: Path) -> None:
    assert said(READ_IN_A_CALL, str(tmp_path / "model.keras")) == [8, [[3, 3, 32, 64]]]


FEATURES_AND_NAMES = """
import json
import sys
from pathlib import Path
import keras
import numpy as np
import tensorflow as tf
from inference.engines import EngineSettings
from inference.engines.tensorflow import load
from inference.formats import inspect_file

folder = Path(sys.argv[1])

def opened(model, name):
    model.save(folder / name)
    inspect_file(folder / name)
    return load(folder / name, "keras", EngineSettings())

space = keras.utils.FeatureSpace({"age": "float_normalized", "thal": "string_categorical"}, output_mode="concat")
rows = {"age": np.array([50.0, 61.0, 44.0], "float32"), "thal": np.array(["fixed", "normal", "normal"])}
space.adapt(tf.data.Dataset.from_tensor_slices(rows))
features = keras.Model(space.get_inputs(), keras.layers.Dense(1)(space.get_encoded_features()))
asked = {"age": rows["age"][:, None], "thal": rows["thal"].astype(object)[:, None]}
(answer,) = opened(features, "features.keras").run(asked).values()
right = features({name: tf.constant(column) for name, column in asked.items()}).numpy()

text = keras.Input((1,), dtype="string", name="in.put:0-x")
counts = keras.layers.TextVectorization(max_tokens=4, output_mode="multi_hot", vocabulary=["a", "b", "c"])(text)
words = opened(keras.Model(text, counts), "words.keras")
made = words.run({"in.put:0-x": np.array([["a b"], ["c"]], object)})
said = words.signature
told, came = [list(spec.shape) for spec in said.outputs], [list(array.shape) for array in made.values()]
print(json.dumps([float(np.abs(answer - right).max()), told, came]))
"""


def test_a_feature_space_is_read_and_names_and_axes_are_what_they_are(tmp_path: Path) -> None:
    difference, told, made = said(FEATURES_AND_NAMES, str(tmp_path))

    assert difference < 1e-6
    assert (told, made) == ([[None, 4]], [[2, 4]])
