"""Files of Keras are read without drawing random values, and nothing of that stays."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
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


def test_weights_begin_as_zeros_only_while_a_file_is_read() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True)

    assert json.loads(done.stdout.splitlines()[-1]) == [[], True]
