"""Writes models for the tests of engines, conversion and comparison: python -m tests.engine_models FOLDER

A process of its own, because it needs TensorFlow. Each NAME.<suffix> comes with NAME.npz: `x…` inputs by name, `y…`
the right answers by name.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2

from tests.calibrated_mobilenet import calibrated_mobilenet
from tests.kept_models import keep, kept, noise
from tests.old_models import write_old_models

GENERATOR = np.random.default_rng(7)


def main(folder: Path) -> None:
    keras.utils.set_random_seed(7)
    write_old_models(folder)
    _two_ends(folder)
    _slots(folder)
    _version_1(folder)
    _int8(folder)
    _digamma(folder)
    _lost_ranks(folder)
    _loop(folder)
    _over_the_batch(folder)
    _any_size(folder)
    _quantised(folder)
    _stateful(folder)
    _named_answers(folder)
    _vocabulary(folder)
    _no_weights(folder)
    _mobilenet(folder)
    _grouped(folder)
    _counting(folder)
    _odd_names(folder)
    _same_names(folder)
    _idle_input(folder)
    _twice(folder)
    _gelu(folder)
    _upsampled(folder)
    _heavy(folder)
    _wide(folder)
    _gathered(folder)
    _zoomed(folder)


def _two_ends(folder: Path) -> None:
    """Two inputs and two outputs whose names are in no order and are not all names that a graph can have."""
    zeta, alpha = keras.Input((4,), name="zeta-in"), keras.Input((3,), name="alpha in")
    both = layers.Concatenate()([zeta, alpha])
    model = keras.Model([zeta, alpha], [layers.Dense(5, name="scores.z")(both), layers.Dense(2, name="a-vector")(both)])
    kept(folder, "two_ends", model, **{"zeta-in": noise(4, 4), "alpha in": noise(4, 3)})
    model.save(folder / "two_ends.keras")


def _odd_names(folder: Path) -> None:
    """Names that TensorFlow takes for no scope, as a model may have that was trained on JAX or PyTorch."""
    odd = {"left": "Bild links", "right": "_rechts", "seen": "erste Schicht", "size": "Größe ü", "kind": "Art (0-1)"}
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    seen = layers.Dense(5, name="seen")(layers.Concatenate()([left, right]))
    model = keras.Model([left, right], [layers.Dense(2, name="size")(seen), layers.Dense(2, name="kind")(seen)])
    model.save(folder / "plain_names.keras")
    with (
        zipfile.ZipFile(folder / "plain_names.keras") as plain,
        zipfile.ZipFile(folder / "odd_names.keras", "w") as file,
    ):
        for member in plain.namelist():
            content = plain.read(member)
            if member == "config.json":
                for name, other in odd.items():
                    content = content.replace(f'"{name}"'.encode(), f'"{other}"'.encode())
            file.writestr(member, content)
    given = {"left": noise(3, 4), "right": noise(3, 3)}
    size, kind = model(list(given.values()), training=False)
    answers = {"size": size.numpy(), "kind": kind.numpy()}
    keep(folder, "odd_names", *({odd[name]: array for name, array in each.items()} for each in (given, answers)))


def _same_names(folder: Path) -> None:
    """One output has the name of an input, another one is an input that was let through, a third comes of both."""
    x, y = keras.Input((4,), name="x"), keras.Input((3,), name="y")
    seen = layers.Concatenate()([x, y])
    answers = {"x": layers.Dense(3, name="a")(x), "y through": layers.Identity(name="b")(y), "z": layers.Dense(2)(seen)}
    model = keras.Model({"x": x, "y": y}, answers)
    model.save(folder / "same_names.keras")
    given = {"x": noise(3, 4), "y": noise(3, 3)}
    keep(folder, "same_names", given, {name: array.numpy() for name, array in model(given, training=False).items()})


def _idle_input(folder: Path) -> None:
    """An input that nothing reads, beside one with a name that Python's methods have for themselves."""
    x, idle = keras.Input((4,), name="self"), keras.Input((3,), name="idle")
    model = keras.Model([x, idle], layers.Dense(2, name="answer")(x))
    model.save(folder / "idle_input.keras")
    kept(folder, "idle_input", model, **{"self": noise(3, 4), "idle": noise(3, 3)})


def _twice(folder: Path) -> None:
    """One tensor under two names."""
    x = keras.Input((4,), name="x")
    answer = layers.Dense(2)(x)
    model = keras.Model(x, {"scores": answer, "answer": answer})
    model.save(folder / "twice.keras")
    kept(folder, "twice", model, x=noise(3, 4))


def _gelu(folder: Path) -> None:
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Dense(3, activation="gelu", name="answer")(x))
    model.save(folder / "gelu.keras")
    kept(folder, "gelu", model, x=3 * noise(3, 4))


def _slots(folder: Path) -> None:
    """A SavedModel with the slots of a Keras 2 optimizer, whose class nobody has any more. It looks rows of a variable
    up, as an Embedding does, and makes sure of something: a function that is not made part of its caller."""
    model = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3, name="answer")])
    module = tf.Module()
    module.kernel, module.bias = (tf.Variable(w) for w in model.get_weights())
    module.slot = tf.Variable(tf.zeros_like(module.kernel))
    module.optimizer = tf.Module()

    def call(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.Assert(tf.size(x) > 0, ["nothing"])]):
            return {"answer": tf.identity(x) @ tf.gather(module.kernel, [0, 1, 2, 3]) + module.bias}

    function = tf.function(call).get_concrete_function(x=tf.TensorSpec((None, 4), tf.float32, name="x"))
    tf.saved_model.save(module, str(folder / "slots"), signatures=function)
    path = folder / "slots" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    nodes = saved.meta_graphs[0].object_graph_def.nodes
    children = {child.local_name: child.node_id for child in nodes[0].children}
    slot = nodes[children["optimizer"]].slot_variables.add()
    slot.original_variable_node_id, slot.slot_name = children["kernel"], "m"
    slot.slot_variable_node_id = children["slot"]
    path.write_bytes(saved.SerializeToString())
    kept(folder, "slots", model, x=noise(3, 4))
    _packed(folder / "slots", folder / "slots.zip", "model/")


def _version_1(folder: Path) -> None:
    """A SavedModel as a session of TensorFlow 1 wrote it."""
    weights = noise(4, 3)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
        kernel = tf.compat.v1.get_variable("kernel", initializer=tf.constant(weights), use_resource=False)
        y = tf.nn.softmax(x @ kernel, name="y")
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder / "version_1"), {"x": x}, {"y": y})
    data = noise(3, 4)
    keep(folder, "version_1", {"x": data}, {"y": tf.nn.softmax(data @ weights).numpy()})
    _packed(folder / "version_1", folder / "version_1.zip", "")


def _packed(source: Path, target: Path, top: str) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}{file.relative_to(source)}")


def _int8(folder: Path) -> None:
    """Integers in and out, with scale and zero point; the right answers are those of the float model."""
    kernel, matrix, data = noise(3, 3, 1, 4), noise(144, 3) * 0.2, noise(100, 8, 8, 1)

    def call(pixels: Any) -> dict[str, Any]:
        seen = tf.nn.relu(tf.nn.conv2d(pixels, kernel, 1, "VALID"))
        return {"answer": tf.nn.softmax(tf.reshape(seen, (-1, 144)) @ matrix)}

    shape = tf.TensorSpec((1, 8, 8, 1), tf.float32, name="pixels")
    function = tf.function(call).get_concrete_function(pixels=shape)
    for name, kind in (("int8", tf.int8), ("uint8", tf.uint8)):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([data[i : i + 1]] for i in range(100))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = kind
        (folder / f"{name}.tflite").write_bytes(converter.convert())
        keep(folder, name, {"pixels": data[:20]}, {"answer": call(data[:20])["answer"].numpy()})


def _digamma(folder: Path) -> None:
    """A frozen graph with an operation that other formats do not have, and an end that is not meant."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
        tf.math.digamma(x + 1.0, name="answer")
        tf.identity(x * 2.0, name="beside")
    (folder / "digamma.pb").write_bytes(graph.as_graph_def().SerializeToString())
    data = np.abs(noise(3, 4))
    keep(folder, "digamma", {"x": data}, {"answer": tf.math.digamma(data + 1.0).numpy()})


def _lost_ranks(folder: Path) -> None:
    """Frozen graphs whose answer has as many dimensions as are computed; of the one, zeros cannot be computed."""
    for name, skipped in (("lost_rank", 0), ("lost_rank_failing", 8)):
        with tf.Graph().as_default() as graph:
            x = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
            more = tf.cast(tf.where(x[0] > 1e9)[:, 0], tf.int32)
            tf.reshape(x * 2.0, tf.concat([tf.shape(x[skipped:]), more], 0), name="answer")
        (folder / f"{name}.pb").write_bytes(graph.as_graph_def().SerializeToString())
    data = noise(3, 4)
    keep(folder, "lost_rank", {"x": data}, {"answer": data * 2.0})


def _loop(folder: Path) -> None:
    """A conversion of this runs as long as it is let: folding its constants means running the loop."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), "x")
        big = tf.while_loop(lambda i: i < 10**12, lambda i: i + 1, [tf.constant(0, tf.int64)])
        tf.add(x, tf.cast(big, tf.float32), name="answer")
    (folder / "loop.pb").write_bytes(graph.as_graph_def().SerializeToString())


def _over_the_batch(folder: Path) -> None:
    """Pixels divided by 255 and normalised over all rows, as BatchNorm does in training."""
    with tf.Graph().as_default() as graph:
        shares = tf.compat.v1.placeholder(tf.float32, (None, 4), "x") / 255.0
        mean, variance = tf.nn.moments(shares, [0, 1])
        tf.sigmoid((shares - mean) * tf.math.rsqrt(variance + 1e-3) / 3, name="answer")
    (folder / "over_the_batch.pb").write_bytes(graph.as_graph_def().SerializeToString())


def _any_size(folder: Path) -> None:
    """Pictures of any height and width, from 3 × 3 on."""
    pixels = keras.Input((None, None, 3), name="pixels")
    seen = layers.GlobalAveragePooling2D(name="mean")(layers.Conv2D(4, 3, name="conv")(pixels))
    model = keras.Model(pixels, layers.Dense(2, name="answer")(seen))
    model.save(folder / "any_size.keras")
    kept(folder, "any_size", model, pixels=noise(2, 20, 14, 3))


def _upsampled(folder: Path) -> None:
    """Pictures of any size made twice as large, with the right answers for two sizes."""
    pixels = keras.Input((None, None, 3), name="pixels")
    larger = layers.UpSampling2D(interpolation="bilinear", name="larger")(pixels)
    model = keras.Model(pixels, layers.Conv2D(2, 3, name="answer")(larger))
    model.save(folder / "upsampled.keras")
    kept(folder, "upsampled_wide", model, pixels=noise(2, 8, 14, 3))
    kept(folder, "upsampled_high", model, pixels=noise(1, 12, 5, 3))


def _quantised(folder: Path) -> None:
    """As `model.quantize` leaves it: int8 weights, and products of int8 that do not fit into int8."""
    model = keras.Sequential([keras.Input((16,), name="numbers"), layers.Dense(12), layers.Dense(4, name="answer")])
    model.quantize("int8")
    model.save(folder / "quantised.keras")
    kept(folder, "quantised", model, numbers=noise(3, 16))


def _grouped(folder: Path) -> None:
    """Convolutions in groups, which Keras has compiled by XLA; one of them is called in a loop."""
    frames = keras.Input((3, 6, 6, 4), name="frames")
    each = layers.TimeDistributed(layers.Conv2D(4, 3, groups=2))(frames)
    seen = layers.Conv2D(6, 3, groups=2)(layers.Reshape((12, 4, 4))(each))
    model = keras.Model(frames, layers.GlobalAveragePooling2D(name="answer")(seen))
    model.save(folder / "grouped.keras")
    kept(folder, "grouped", model, frames=noise(2, 3, 6, 6, 4))


def _stateful(folder: Path) -> None:
    """A layer that remembers the call before; the answers are those of a first call, three times the same."""
    steps = keras.Input(batch_shape=(1, 5, 3), name="steps")
    model = keras.Model(steps, layers.LSTM(4, stateful=True, name="answer")(steps))
    model.save(folder / "stateful.keras")
    given = noise(1, 5, 3)
    answer = model(given, training=False).numpy()
    keep(folder, "stateful", {"steps": given.repeat(3, axis=0)}, {"answer": answer.repeat(3, axis=0)})


def _counting(folder: Path) -> None:
    """A SavedModel that counts its calls in a variable."""
    module = tf.Module()
    module.count = tf.Variable(0.0)
    function = tf.function(lambda numbers: {"answer": numbers + module.count.assign_add(1.0)})
    signature = function.get_concrete_function(numbers=tf.TensorSpec((None, 2), tf.float32, name="numbers"))
    tf.saved_model.save(module, str(folder / "counting"), signatures=signature)
    _packed(folder / "counting", folder / "counting.zip", "")


def _named_answers(folder: Path) -> None:
    """Answers in a dict, whose keys are neither the layers' names nor in their order; one has a slash, one a dict of
    its own."""
    x = keras.Input((4,), name="x")
    verdict, area = layers.Dense(3, name="a")(x), layers.Dense(2, name="b")(x)
    keras.Model(x, {"verdict": {"scores": verdict}, "area/m2": area}).save(folder / "named_answers.keras")
    kept(folder, "named_answers", keras.Model(x, {"verdict": verdict, "area/m2": area}), x=noise(3, 4))


def _vocabulary(folder: Path) -> None:
    """Two inputs of words by their numbers, one of which an inner model reads; and a third, read by a smaller Embedding
    too."""
    question, answer, kind = (keras.Input((length,), dtype="int32", name=name) for length, name in
                              ((6, "question"), (6, "answer"), (1, "kind")))  # fmt: skip
    words, kinds = layers.Embedding(500, 4), layers.Embedding(3, 4)
    inner = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(500, 4)])
    read = [words(question), inner(answer), words(kind), kinds(kind)]
    seen = layers.Concatenate()([layers.GlobalAveragePooling1D()(part) for part in read])
    model = keras.Model([question, answer, kind], layers.Dense(2, name="fits")(seen))
    model.save(folder / "vocabulary.keras")
    given = {"question": [[0, 499, 7, 7, 3, 1]], "answer": [[5, 4, 3, 2, 1, 0]], "kind": [[2]]}
    kept(folder, "vocabulary", model, **{name: np.array(value, np.int32) for name, value in given.items()})


def _no_weights(folder: Path) -> None:
    x = keras.Input((10,), name="x")
    model = keras.Model(x, layers.Softmax(name="answer")(x))
    model.save(folder / "no_weights.keras")
    kept(folder, "no_weights", model, x=noise(3, 10))


def _heavy(folder: Path) -> None:
    """64 MB of weights in few layers."""
    model = keras.Sequential([keras.Input((2000,)), *(layers.Dense(2000) for _ in range(4))])
    model.save(folder / "heavy.keras")


def _wide(folder: Path) -> None:
    """Weights of more than 16 KB in layers of many kinds: read twice, in a loop, turned round, in int8."""
    words = keras.Input((6,), dtype="int32", name="words")
    embedding = layers.ReversibleEmbedding(600, 48)
    steps = layers.LSTM(64, return_sequences=True)(embedding(words))
    next_words = layers.Softmax(name="next_words")(embedding(layers.Dense(48)(steps), reverse=True))
    picture = keras.Input((6, 6, 64), name="picture")
    seen = layers.DepthwiseConv2D(3)(layers.Conv2DTranspose(512, 3, strides=2, padding="same")(picture))
    seen = layers.BatchNormalization()(layers.Conv2D(96, 3, groups=2)(seen))
    flat = layers.GlobalAveragePooling2D()(layers.Conv1D(80, 3)(layers.Reshape((64, 96))(seen))[..., None])
    narrow = layers.Dense(100, name="narrow")
    model = keras.Model([words, picture], [next_words, narrow(layers.Dense(200)(flat))])
    narrow.quantize("int8")
    model.save(folder / "wide.keras")
    model.export(folder / "wide", verbose=False)
    _packed(folder / "wide", folder / "wide.zip", "")
    given = np.array([[0, 599, 7, 7, 3, 1], [5, 4, 3, 2, 1, 0]], np.int32)
    kept(folder, "wide", model, words=given, picture=noise(2, 6, 6, 64))


def _gathered(folder: Path) -> None:
    """A SavedModel that reads rows of large variables without reading the whole of them, and one of any size."""
    module = tf.Module()
    module.table, module.own = tf.Variable(noise(600, 30)), tf.Variable(noise(1, 5000))
    module.free = tf.Variable(noise(300, 30), shape=(None, 30))

    def function(ids: Any) -> dict[str, Any]:
        rows = tf.gather(module.table, ids) + tf.reduce_mean(module.free, axis=0)
        return {"rows": rows, "of_its_own": tf.gather(module.own, ids, batch_dims=1)}

    spec = tf.TensorSpec((1, 3), tf.int32, name="ids")
    tf.saved_model.save(module, str(folder / "gathered"), signatures=tf.function(function).get_concrete_function(spec))
    _packed(folder / "gathered", folder / "gathered.zip", "")
    given = np.array([[0, 599, 7]], np.int32)
    keep(folder, "gathered", {"ids": given}, {name: tensor.numpy() for name, tensor in function(given).items()})


def _zoomed(folder: Path) -> None:
    """A SavedModel that takes one number for all rows beside them."""
    function = tf.function(lambda rows, zoom: {"answer": rows * zoom})
    rows, zoom = tf.TensorSpec((None, 3), tf.float32, name="rows"), tf.TensorSpec((), tf.float32, name="zoom")
    signature = function.get_concrete_function(rows, zoom)
    tf.saved_model.save(tf.Module(), str(folder / "zoomed"), signatures=signature)
    _packed(folder / "zoomed", folder / "zoomed.zip", "")
    given = noise(4, 3)
    keep(folder, "zoomed", {"rows": given, "zoom": np.float32(2)}, {"answer": given * 2})


def _mobilenet(folder: Path) -> None:
    pictures = GENERATOR.uniform(-1, 1, (16, 224, 224, 3)).astype(np.float32)
    model = calibrated_mobilenet(pictures, GENERATOR)
    model.save(folder / "mobilenet.keras")
    kept(folder, "mobilenet", model, **{model.layers[0].name: pictures[:10]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
