"""Makes real models with TensorFlow, Keras and OpenVINO, good and bad: `python -m tests.tensorflow_exports FOLDER`.

In a process of its own, because a test that looks at files must not have an engine around it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import keras
import openvino
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

v1 = tf.compat.v1


class Doors(tf.Module):
    """Signatures that do more than calculate."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def write(self, x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file("marker", "x")]):
            return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def read(self, x: Any) -> Any:
        return {"y": tf.io.read_file("/etc/passwd")}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def print(self, x: Any) -> Any:
        tf.print(x, output_stream="file://marker")
        return {"y": x}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def python(self, x: Any) -> Any:
        return {"y": tf.py_function(lambda value: value, [x], tf.float32)}


class Resource(tf.saved_model.experimental.TrackableResource):
    """Writes when the model is loaded."""

    def _create_resource(self) -> Any:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.float32)

    def _initialize(self) -> None:
        tf.io.write_file("marker", "x")

    def _destroy_resource(self) -> None:
        pass


class Initialised(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resource = Resource()
        self.handle = self.resource.resource_handle

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def call(self, x: Any) -> Any:
        size = tf.raw_ops.LookupTableSizeV2(table_handle=self.resource.resource_handle)
        return {"y": x + tf.cast(size, tf.float32)}


def picture_models() -> dict[str, Any]:
    layers = keras.layers
    text = layers.TextVectorization(output_sequence_length=4, vocabulary=["a", "b"])
    return {
        "mobilenet": keras.applications.MobileNet(weights=None, input_shape=(96, 96, 3), alpha=0.25, classes=10),
        "lstm": keras.Sequential([keras.Input((5, 2)), layers.LSTM(4), layers.Dense(2)]),
        "text": keras.Sequential([keras.Input((1,), dtype="string"), text, layers.Embedding(5, 2), layers.Flatten()]),
    }


def save_tf1(folder: Path) -> None:
    graph = tf.Graph()
    with graph.as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="input")
        y = tf.nn.softmax(tf.matmul(x, v1.get_variable("weights", [4, 3])), name="prob")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "tf1"), {"x": x}, {"y": y})
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["prob"])
        (folder / "tf1.pb").write_bytes(frozen.SerializeToString())


def save_conversions(folder: Path, model: Any) -> None:
    spec = tf.TensorSpec([None, 96, 96, 3], tf.float32, name="image")
    traced = tf.function(lambda image: model(image, training=False)).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(traced).graph.as_graph_def()
    (folder / "mobilenet.pb").write_bytes(frozen.SerializeToString())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], model)
    (folder / "mobilenet.tflite").write_bytes(converter.convert())
    ir = folder / "ir"
    ir.mkdir()
    openvino.save_model(openvino.convert_model(str(folder / "mobilenet.pb")), str(ir / "model.xml"))
    shutil.make_archive(str(folder / "openvino"), "zip", ir)


def main() -> None:
    folder = Path(sys.argv[1])
    models = picture_models()
    for name, model in models.items():
        model.export(str(folder / name), verbose=False)
    doors, initialised = Doors(), Initialised()
    for name in ("write", "read", "print", "python"):
        tf.saved_model.save(doors, str(folder / f"bad_{name}"), signatures={"serving_default": getattr(doors, name)})
    tf.saved_model.save(initialised, str(folder / "bad_init"), signatures={"serving_default": initialised.call})
    save_tf1(folder)
    save_conversions(folder, models["mobilenet"])
    for name in (*models, "tf1", "bad_write", "bad_read", "bad_print", "bad_python", "bad_init"):
        shutil.make_archive(str(folder / name), "gztar" if name == "tf1" else "zip", folder / name)


if __name__ == "__main__":
    main()
