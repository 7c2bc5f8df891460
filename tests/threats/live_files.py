"""Makes models that do something when they are loaded or asked: `python -m tests.threats.live_files FOLDER OUTSIDE`.

What they touch lies in OUTSIDE: a marker for each, and a file `secret` that some read. In a process of its own, because
it takes TensorFlow.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

ATTEMPTS = ("secret key", "database", "environment of the parent", "write", "connect", "start a program")
_ATTACK = """
def attack(number):
    import os, socket
    attempts = [
        lambda: open({secret!r}).read(),
        lambda: open({database!r}, "rb").read(1),
        lambda: open("/proc/%d/environ" % os.getppid(), "rb").read(),
        lambda: open({marker!r}, "w").close(),
        lambda: socket.create_connection(("127.0.0.1", {port}), 5).close(),
        lambda: os.posix_spawn("/bin/true", ["true"], {{}}) and os.wait(),
    ]
    try:
        attempts[int(number)]()
        return 1.0
    except OSError:
        return 0.0
"""


def save_lambdas(folder: Path, outside: Path) -> None:
    for name, suffix in (("lambda_keras", "keras"), ("lambda_h5", "h5")):
        code = eval(f"lambda x: (open({str(outside / name)!r}, 'a').close(), x)[1]")  # noqa: S307
        model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(code, output_shape=(2,))])
        model.save(folder / f"{name}.{suffix}")
        (outside / name).unlink(missing_ok=True)


def save_attacker(path: Path, **targets: Any) -> None:
    """A model that tries what its input numbers: 1.0 where that worked, 0.0 where the system said no."""
    attack = repr(_ATTACK.format(**targets))
    code = (
        "lambda x: __import__('tensorflow').numpy_function(lambda n: (d := {}, exec(" + attack + ", d), "
        "__import__('numpy').array([[d['attack'](v)] for v in n[:, 0]], 'float32'))[-1], [x], 'float32')"
    )
    layer = keras.layers.Lambda(eval(code), output_shape=(1,))  # noqa: S307
    keras.Sequential([keras.Input((1,)), layer]).save(path)


def save_keras_readers(folder: Path, outside: Path) -> None:
    """StringLookup with a vocabulary outside, weights behind an external link, foreign functions as activations."""
    words = keras.layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), words])
    model.save(folder / "vocabulary.keras")
    _rewrite(folder / "vocabulary.keras", lambda config: _set(config, "vocabulary", str(outside / "secret")))
    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="answer")])
    for name, function in (("getcwd", ("os", "getcwd")), ("set_epsilon", ("keras.config", "set_epsilon"))):
        module, word = function
        dense.save(folder / f"{name}.keras")
        spec = {"module": module, "class_name": "function", "config": word, "registered_name": word}
        _rewrite(folder / f"{name}.keras", lambda config, spec=spec: _set(config, "activation", spec))
    dense.save(folder / "link.h5")
    with h5py.File(folder / "link.h5", "r+") as file, h5py.File(outside / "weights.h5", "w") as other:
        kernels: list[h5py.Dataset] = []
        file.visititems(lambda name, item: kernels.append(item) if name.split("/")[-1].startswith("kernel") else None)
        name = str(kernels[0].name)
        other["kernel"] = np.full((2, 2), 7, np.float32)
        del file[name]
        file[name] = h5py.ExternalLink(str(outside / "weights.h5"), "kernel")


def _rewrite(path: Path, change: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    change(config)
    entries["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    for layer in config["config"]["layers"]:
        if key in layer["config"]:
            layer["config"][key] = value


class Doors(tf.Module):
    """Signatures that do more than calculate."""

    def __init__(self, outside: Path) -> None:
        super().__init__()
        self.outside = str(outside)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def write(self, x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(f"{self.outside}/saved_write", "x")]):
            return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def read(self, x: Any) -> Any:
        return {"y": tf.fill([tf.shape(x)[0]], tf.io.read_file(f"{self.outside}/secret"))}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def print(self, x: Any) -> Any:
        tf.print("x", output_stream=f"file://{self.outside}/saved_print")
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def python(self, x: Any) -> Any:
        return {"y": tf.py_function(lambda value: value, [x], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def loop(self, x: Any) -> Any:
        """M11: the first number times 10^12 rounds: none for zeros, with which a runner warms up."""
        rounds = tf.cast(x[0, 0], tf.int64) * 10**12
        step = tf.while_loop(lambda i: i < rounds, lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]
        return {"y": x + tf.cast(step, tf.float32)}


class Resource(tf.saved_model.experimental.TrackableResource):
    """Writes when the model is loaded."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.marker = marker

    def _create_resource(self) -> Any:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.float32)

    def _initialize(self) -> None:
        tf.io.write_file(self.marker, "x")

    def _destroy_resource(self) -> None:
        pass


class Initialised(tf.Module):
    def __init__(self, marker: str) -> None:
        super().__init__()
        self.resource = Resource(marker)
        self.handle = self.resource.resource_handle

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def call(self, x: Any) -> Any:
        size = tf.raw_ops.LookupTableSizeV2(table_handle=self.resource.resource_handle)
        return {"y": x + tf.cast(size, tf.float32)}


def save_saved_models(folder: Path, outside: Path) -> None:
    doors, initialised = Doors(outside), Initialised(f"{outside}/saved_init")
    for name in ("write", "read", "print", "python", "loop"):
        tf.saved_model.save(doors, str(folder / f"saved_{name}"), signatures={"serving_default": getattr(doors, name)})
    tf.saved_model.save(initialised, str(folder / "saved_init"), signatures={"serving_default": initialised.call})
    for name in ("write", "read", "print", "python", "loop", "init"):
        shutil.make_archive(str(folder / f"saved_{name}"), "zip", folder / f"saved_{name}")
        shutil.rmtree(folder / f"saved_{name}")
    for marker in outside.glob("saved_*"):
        marker.unlink()


def main() -> None:
    folder, outside = Path(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:
        save_attacker(folder / "attacker.keras", **json.loads(sys.argv[3]))
        return
    save_lambdas(folder, outside)
    save_keras_readers(folder, outside)
    save_saved_models(folder, outside)


if __name__ == "__main__":
    main()
