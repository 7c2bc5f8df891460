"""Models as Keras 2 wrote them, for tests.engine_models: saved by Keras 3, their descriptions made older.

The rules of age are those that files of TensorFlow 2.15 follow; what inference/engines/keras_old_*.py undo.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from keras.src.applications import convnext, inception_resnet_v2

from tests.kept_models import keep, kept, noise
from tests.old_operations import age_operation, is_operation

Change = Callable[[dict[str, Any]], None]

SUFFIXES = (".h5", ".keras")
_MODELS = ("Functional", "Sequential")


def write_old_models(folder: Path) -> None:
    for name, model, inputs in _models():
        kept(folder, name, model, **inputs)
        _save(folder, name, model, aged)
    _edit_copy(folder / "time_major.h5", folder / "time_major_true.h5", _time_first)
    _edit_copy(folder / "siamese.keras", folder / "unknown_argument.keras", _with_unknown)
    _edit_copy(folder / "base_first.keras", folder / "two_axes.keras", _with_two_axes)
    _edit_copy(folder / "siamese.h5", folder / "constant.h5", _with_constant)
    _edit_copy(folder / "operations.h5", folder / "foreign_function.h5", _with_foreign_function)
    _save(folder, "by_place", _by_place(), aged)
    _channels(folder)
    _gates(folder)
    _slashes(folder)
    _without_input(folder)
    _of_cudnn(folder)
    _new_files(folder)
    _free_steps(folder)


def _models() -> list[tuple[str, Any, dict[str, np.ndarray]]]:
    pixels, steps, two = {"pixels": noise(3, 8, 8, 3)}, {"steps": noise(3, 6, 4)}, {"a": noise(3, 5), "b": noise(3, 5)}
    return [
        ("groups", _convolutions(), pixels),
        ("time_major", _recurrent(), steps),
        ("nested", _nested(), pixels),
        ("base_first", _base_first(), pixels),
        ("siamese", _siamese(), two),
        ("twin_ends", _twin_ends(), two),
        ("attention", _attention(), {"query": noise(3, 5, 4), "value": noise(3, 7, 6)}),
        ("states", _states(), {"steps": noise(3, 6, 4), "later": noise(3, 2, 4)}),
        ("wrapped", _wrapped(), {"frames": noise(3, 5, 8, 8, 3)}),
        ("axes", _axes(), pixels),
        ("normalized", _normalized(), {"rows": 3 * noise(3, 6, 4) + 5}),
        ("binned", _binned(), {"shares": noise(3, 2, 4, 5)}),
        ("operations", _operations(), {"pixels": 255 * noise(3, 8, 8, 3)}),
        ("unordered_old", _unordered_inputs(), {"title": noise(3, 2), "body": noise(3, 4)}),
    ]


def _convolutions() -> Any:
    pixels = keras.Input((8, 8, 3), name="pixels")
    seen = layers.DepthwiseConv2D(3, name="depthwise")(layers.RandomFlip()(pixels))
    seen = layers.SpatialDropout2D(0.2)(layers.SeparableConv2D(4, 3, name="separable")(seen))
    seen = convnext.LayerScale(0.1, 3)(layers.Conv2DTranspose(3, 3, name="transposed")(seen))
    return keras.Model(pixels, layers.Dense(5, activation="softmax", name="answer")(layers.Flatten()(seen)))


def _recurrent() -> Any:
    steps = keras.Input((6, 4), name="steps")
    seen = layers.LSTM(5, return_sequences=True, name="lstm")(steps)
    seen = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="both")(seen)
    seen = layers.GRU(4, reset_after=False, return_sequences=True)(seen)
    seen = layers.ConvLSTM1D(2, 2, return_sequences=True)(layers.Reshape((6, 4, 1))(seen))
    return keras.Model(
        steps, layers.Dense(3, name="answer")(layers.SimpleRNN(4, name="simple")(layers.Reshape((6, 6))(seen)))
    )


def _wrapped() -> Any:
    """Layers in layers: two models, cells, and another layer for the way back."""
    rows = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])
    frames = keras.Input((5, 8, 8, 3), name="frames")
    seen = layers.TimeDistributed(rows)(layers.TimeDistributed(_same_size())(frames))
    back = layers.GRU(3, return_sequences=True, go_backwards=True)
    seen = layers.Bidirectional(layers.LSTM(3, return_sequences=True), backward_layer=back)(seen)
    return keras.Model(frames, layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], name="answer")(seen))


def _same_size() -> Any:
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(pixels)))


def _base() -> Any:
    pixels = keras.Input((8, 8, 3))
    return keras.Model(pixels, layers.BatchNormalization(axis=3)(layers.Conv2D(4, 3)(pixels)), name="base")


def _nested() -> Any:
    """Three models deep; the innermost is called twice."""
    row = keras.Input((4,))
    twice = keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="tanh")], name="twice")
    head = keras.Model(row, twice(twice(row)), name="head")
    pixels = keras.Input((8, 8, 3), name="pixels")
    seen = layers.GlobalAveragePooling2D()(_base()(pixels, training=False))
    return keras.Model(pixels, layers.Dense(2, name="answer")(head(seen)))


def _base_first() -> Any:
    return keras.Sequential([_base(), layers.GlobalAveragePooling2D(), layers.Dense(3, name="answer")])


def _towers() -> tuple[Any, Any, Any, Any]:
    row = keras.Input((5,))
    functional = keras.Model(row, layers.Dense(4)(row), name="functional")
    sequential = keras.Sequential([keras.Input((5,)), layers.Dense(4)], name="sequential")
    return functional, sequential, keras.Input((5,), name="a"), keras.Input((5,), name="b")


def _siamese() -> Any:
    functional, sequential, a, b = _towers()
    far = [layers.Subtract()([tower(a), tower(b)]) for tower in (functional, sequential)]
    return keras.Model([a, b], layers.Dense(2, name="answer")(layers.Concatenate()(far)))


def _twin_ends() -> Any:
    """The calls of models in the model are the ends, and the answers a dict."""
    functional, sequential, a, b = _towers()
    ends = {"z": functional(b), "y": functional(a), "x": sequential(b), "w": sequential(a)}
    return keras.Model([a, b], ends)


def _attention() -> Any:
    query, value = keras.Input((5, 4), name="query"), keras.Input((7, 6), name="value")
    seen = layers.MultiHeadAttention(2, 3, name="heads")(query, value=value)
    seen = layers.Attention(name="simple")([seen, query])
    return keras.Model([query, value], layers.LayerNormalization(axis=2, name="answer")(seen))


def _by_place() -> Any:
    """Keras 2 writes the value and the key by name, and reads them in the order of names: other layers' weights."""
    steps = keras.Input((5, 4), name="steps")
    return keras.Model(steps, layers.MultiHeadAttention(2, 3)(*[layers.Dense(4)(steps) for _ in range(3)]))


def _states() -> Any:
    steps, later = keras.Input((6, 4), name="steps"), keras.Input((2, 4), name="later")
    _, *states = layers.LSTM(3, return_state=True)(steps)
    return keras.Model([steps, later], layers.LSTM(3, name="answer")(later, initial_state=states))


def _binned() -> Any:
    """What is large is put into bins that are numbered, and a layer in a layer in a layer."""
    shares = keras.Input((2, 4, 5), name="shares")
    large = layers.ReLU(threshold=0.3)(layers.Flatten()(shares))
    words = layers.Embedding(3, 4)(layers.Discretization([0.2, 0.5])(large))
    rows = layers.TimeDistributed(layers.TimeDistributed(layers.Dense(2)))(shares)
    seen = [layers.GlobalAveragePooling1D()(words), layers.Flatten()(rows)]
    return keras.Model(shares, layers.Concatenate(name="answer")(seen))


def _normalized() -> Any:
    """A mean and a variance in a model in a layer."""
    fitted = layers.Normalization()
    fitted.adapt(3 * noise(50, 4) + 5)
    inner = keras.Sequential([keras.Input((4,)), fitted, layers.Dense(3)])
    rows = keras.Input((6, 4), name="rows")
    return keras.Model(rows, layers.TimeDistributed(inner, name="answer")(rows))


def _axes() -> Any:
    """Axes that are lists of several, in layers without weights too: nothing else would tell."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    seen = layers.UnitNormalization(axis=[1, 2])(layers.BatchNormalization(axis=1)(pixels))
    seen = layers.LayerNormalization(axis=[1, 2], center=False, scale=False)(seen)
    return keras.Model(pixels, layers.Softmax(axis=[2, 3], name="answer")(seen))


def _operations() -> Any:
    """`preprocess_input` in mode "tf" around an inner model with calls of all kinds: constants on both sides, tensors
    as other arguments, lists of one."""
    pixels = keras.Input((8, 8, 3))
    seen = ops.relu(layers.Conv2D(4, 3, padding="same")(pixels) * 2.0 + 1.0)
    both = ops.concatenate([seen, pixels], axis=-1)
    mean = ops.concatenate([ops.mean(both[:, 1:-1, ::2], axis=[1, 2])], axis=-1)
    far = 1.0 - layers.Dense(7)(ops.reshape(both, (-1, 448)))
    inner = keras.Model(pixels, ops.where(far > 0.5, far * mean, far), name="inner")
    pixels = keras.Input((8, 8, 3), name="pixels")
    return keras.Model(pixels, layers.Dense(3, name="answer")(inner(pixels / 127.5 - 1.0)))


def _namesakes() -> Any:
    """Operations beside the layers that have the same names; `preprocess_input` in mode "caffe"."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    small = ops.image.resize(pixels[..., ::-1], (4, 4))
    seen = layers.Subtract()([ops.subtract(small, 0.5), ops.multiply(2.0, small)])
    both = ops.concatenate([layers.Softmax(axis=[1, 2])(seen), ops.softmax(seen, axis=1)], axis=2)
    return keras.Model(pixels, layers.Dense(3, name="answer")(layers.Concatenate()([both, both])))


def _channels(folder: Path) -> None:
    """`preprocess_input` in mode "caffe", whose `...` Keras 2.15 cannot write into .keras; layers of applications."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    seen = layers.Conv2D(4, 3)(pixels[..., ::-1] + np.array([-103.939, -116.779, -123.68], np.float32))
    seen = convnext.StochasticDepth(0.1)(convnext.LayerScale(0.002, 4)(seen))
    seen = inception_resnet_v2.CustomScaleLayer(0.17)([seen, layers.Conv2D(4, 1)(seen)])
    model = keras.Model(pixels, layers.Dense(3, name="answer")(layers.Flatten()(seen)))
    kept(folder, "channels", model, pixels=255 * noise(3, 8, 8, 3))

    def registered(item: dict[str, Any]) -> None:
        aged(item)
        if item["class_name"] == "CustomScaleLayer":
            item["class_name"] = "Custom>CustomScaleLayer"

    model.save(folder / "channels.h5")
    _edit(folder / "channels.h5", registered)


def _gated(gate: Any) -> Any:
    model = keras.Sequential([keras.Input((6, 4), name="steps")])
    model.add(layers.Bidirectional(layers.LSTM(3, recurrent_activation=gate, return_sequences=True)))
    model.add(layers.TimeDistributed(layers.Dense(3, activation=gate)))
    model.add(layers.Activation(gate, name="answer"))
    return model


@keras.saving.register_keras_serializable("tests")
def _old_hard_sigmoid(x: Any) -> Any:
    return tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)


def _gates(folder: Path) -> None:
    """The right answers are those of Keras 2's hard_sigmoid."""
    model, old = _gated("hard_sigmoid"), _gated(_old_hard_sigmoid)
    old.set_weights(model.get_weights())
    kept(folder, "gates", old, steps=3 * noise(3, 6, 4))
    _save(folder, "gates", model, aged)


def _slashes(folder: Path) -> None:
    """Without their slashes two of the layers have one name."""
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    far = layers.Subtract(name="far")([layers.Dense(3, name="in__put")(a), layers.Dense(3, name="in_put")(b)])
    model = keras.Model([a, b], layers.Dense(2, name="answer")(far))
    kept(folder, "slashes", model, a=noise(3, 5), b=noise(3, 5))
    _save(folder, "slashes", model, aged, lambda text: text.replace("in__put", "in/put"))


def _unordered_inputs() -> Any:
    given = {"title": keras.Input((2,), name="title"), "body": keras.Input((4,), name="body")}
    both = layers.Concatenate()([layers.Dense(3)(given["title"]), given["body"]])
    return keras.Model(given, layers.Dense(2, name="answer")(both))


def _new_files(folder: Path) -> None:
    """New files: a dict of inputs in no order; axes, an attention, operations and layers of applications, which Keras'
    own reader of HDF5 misreads or does not find."""
    attention = {"query": noise(3, 5, 4), "value": noise(3, 7, 6)}
    for name, model, inputs in (
        ("unordered", _unordered_inputs(), {"title": noise(3, 2), "body": noise(3, 4)}),
        ("new_axes", _axes(), {"pixels": noise(3, 8, 8, 3)}),
        ("new_attention", _attention(), attention),
        ("new_operations", _operations(), {"pixels": 255 * noise(3, 8, 8, 3)}),
        ("namesakes", _namesakes(), {"pixels": noise(3, 8, 8, 3)}),
        ("new_scales", _scales(), {"pixels": noise(3, 8, 8, 3)}),
    ):
        kept(folder, name, model, **inputs)
        for suffix in SUFFIXES:
            model.save(folder / f"{name}{suffix}")


def _scales() -> Any:
    """As in ConvNeXt and Inception-ResNet."""
    pixels = keras.Input((8, 8, 3), name="pixels")
    seen = convnext.LayerScale(0.1, 4)(layers.Conv2D(4, 3)(pixels))
    seen = inception_resnet_v2.CustomScaleLayer(0.2)([seen, layers.Conv2D(4, 3)(pixels)])
    return keras.Model(pixels, layers.GlobalAveragePooling2D(name="answer")(seen))


def _free_steps(folder: Path) -> None:
    """A new file: as many steps as are sent, and another number of examples."""
    steps = keras.Input((None, 4, 4, 1), name="steps")
    inner = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()])
    model = keras.Model(steps, layers.TimeDistributed(inner, name="answer")(steps))
    model.save(folder / "free_steps.keras")
    data = noise(3, 5, 4, 4, 1)
    rows = inner(data.reshape(15, 4, 4, 1)).numpy()
    keep(folder, "free_steps", {"steps": data}, {"answer": rows.reshape(3, 5, -1)})


def _without_input(folder: Path) -> None:
    """A Sequential whose first layer holds the input's shape, as Keras long wrote it; before 2.2.3 as a bare list."""
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="relu", name="inner")], name="nested")
    model = keras.Sequential([keras.Input((6,), name="x"), layers.Dense(5, name="first"), inner])
    model.add(layers.Dense(3, activation="softmax", name="answer"))

    def without_input(item: dict[str, Any]) -> None:
        aged(item)
        if item["class_name"] == "Sequential":
            del item["config"]["layers"][0]

    def listed(item: dict[str, Any]) -> None:
        if item["class_name"] == "Sequential":
            item["config"] = item["config"]["layers"]

    for name in ("without_input", "listed"):
        kept(folder, name, model, first_input=noise(4, 6))
    model.save(folder / "without_input.h5")
    _edit(folder / "without_input.h5", without_input)
    _edit_copy(folder / "without_input.h5", folder / "listed.h5", listed)


def _of_cudnn(folder: Path) -> None:
    """Layers that were made for cuDNN, one of them in both directions, with their weights in its order."""
    steps = keras.Input((6, 4), name="steps")
    both = layers.Bidirectional(layers.LSTM(5, return_sequences=True, name="long"), name="both")
    short = layers.GRU(3, name="short")
    model = keras.Model(steps, short(both(steps)))
    for weight in model.weights:  # a GRU begins with biases of zero, as does all but a part of an LSTM's
        weight.assign(noise(*weight.shape))
    kept(folder, "of_cudnn", model, steps=noise(3, 6, 4))

    def made_for_cudnn(item: dict[str, Any]) -> None:
        aged(item)
        if item["class_name"] in ("LSTM", "GRU"):
            item["class_name"] = f"CuDNN{item['class_name']}"
            item["config"] = {key: item["config"][key] for key in ("name", "units", "return_sequences", "go_backwards")}

    path = folder / "of_cudnn.h5"
    model.save(path)
    _edit(path, made_for_cudnn)
    with h5py.File(path, "r+") as file:
        _put(file, "both", {"forward_long": both.forward_layer, "backward_long": both.backward_layer})
        _put(file, "short", {"short": short})
    _edit_copy(path, folder / "of_cudnn-2.12.h5", _without_module)
    _edit_copy(path, folder / "of_cudnn_elsewhere.h5", lambda item: None)
    with h5py.File(folder / "of_cudnn_elsewhere.h5", "r+") as file:
        file.move("model_weights/short/short", "model_weights/short/long")


def _put(file: h5py.File, outer: str, parts: dict[str, Any]) -> None:
    names = []
    del file["model_weights"][outer]
    group = file["model_weights"].create_group(outer)
    for name, layer in parts.items():
        kernel, recurrent, bias = layer.get_weights()
        gates = kernel.shape[1] // layer.units
        arrays = {
            "kernel": np.hstack([part.T.reshape(part.shape) for part in np.hsplit(kernel, gates)]),
            "recurrent_kernel": np.hstack([part.T for part in np.hsplit(recurrent, gates)]),
            "bias": bias.ravel() if gates == 3 else np.concatenate([0.25 * bias, 0.75 * bias]),
        }
        for kind, array in arrays.items():
            names.append(f"{name}/{kind}:0")
            group[names[-1]] = array
    group.attrs["weight_names"] = [name.encode() for name in names]


def _time_first(item: dict[str, Any]) -> None:
    if "time_major" in item["config"]:
        item["config"]["time_major"] = True


def _with_unknown(item: dict[str, Any]) -> None:
    if item["class_name"] == "Dense":
        item["config"]["of_nobody"] = 1


def _without_module(item: dict[str, Any]) -> None:
    """As Keras up to 2.12 wrote it into HDF5."""
    for key in ("module", "registered_name", "build_config"):
        item.pop(key, None)


def _with_two_axes(item: dict[str, Any]) -> None:
    if item["class_name"] == "BatchNormalization":
        item["config"]["axis"] = [1, 2]


def _with_foreign_function(item: dict[str, Any]) -> None:
    if item["class_name"] == "TFOpLambda":
        item["config"]["function"] = "io.read_file"


def _with_constant(item: dict[str, Any]) -> None:
    if item["class_name"] == "Subtract":
        item["inbound_nodes"][0][1] = ["_CONSTANT_VALUE", -1, [1.0, 2.0, 3.0, 4.0], {}]


def aged(item: dict[str, Any]) -> None:
    """One model or layer, its parts not, as Keras 2.15 described it."""
    kind, inner = item["class_name"], item["config"]
    if kind == "Functional":
        item["module"] = ("tf_" if inner["name"] == "head" else "") + "keras.src.engine.functional"
        _age_graph(inner)
    if kind == "Sequential":
        first, *others = inner["layers"]
        if first["class_name"] == "InputLayer" and others[0]["class_name"] not in _MODELS:
            others[0]["config"]["batch_input_shape"] = first["config"]["batch_shape"]
    _age_arguments(kind, inner)
    if kind == "LayerScale" and "module" in item:
        item["module"] = "tf_keras.src.applications.convnext"
    if kind == "Dense" and inner["name"] == "answer":
        item["config"]["bias_initializer"] |= {"class_name": "Zeros", "module": "tensorflow.python.ops.init_ops_v2"}
    if kind == "MultiHeadAttention":
        item["build_config"] = {"input_shape": inner["query_shape"]}
    if isinstance(inner.get("dtype"), dict) or inner.get("dtype") == "float32":
        inner["dtype"] = {"class_name": "Policy", "config": {"name": "float32"}}
    if kind == "Discretization":
        inner["dtype"] = "int64"
    if kind == "ReLU" and inner["threshold"]:
        item["class_name"] = "ThresholdedReLU"
        item["config"] = {"name": inner["name"], "trainable": True, "dtype": "float32", "theta": inner["threshold"]}
    if kind == "TimeDistributed":
        inner["layer"]["build_config"] = {"input_shape": [None, 5]}


def _age_arguments(kind: str, inner: dict[str, Any]) -> None:
    if kind == "InputLayer":
        inner["batch_input_shape"] = inner.pop("batch_shape")
    if kind in ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"):
        inner["groups"] = 1
    if kind in ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D"):
        inner["time_major"] = False
    if kind == "GRU" and not inner["reset_after"]:
        del inner["reset_after"]
    if kind == "SeparableConv2D":
        inner |= {"kernel_initializer": "zeros", "kernel_regularizer": None, "kernel_constraint": None}
    if kind == "SpatialDropout2D":
        inner |= {"trainable": True, "noise_shape": None}
    if kind == "MultiHeadAttention":
        inner |= {"query_shape": [None, 5, 4], "key_shape": [None, 5, 4], "value_shape": [None, 5, 4]}
        inner["softmax_robust_masking"] = False  # this and the two below: tf_keras 2.21
    if kind == "Softmax":
        inner["robust_masking"] = True
    if kind in ("RandomFlip", "SpatialDropout2D"):
        inner["rng_type"] = "stateful"
    if kind in ("BatchNormalization", "LayerNormalization") and isinstance(inner["axis"], int):
        inner["axis"] = [inner["axis"]]


def _age_graph(config: dict[str, Any]) -> None:
    """Calls of models in the model are counted from 1; a single end is a list of one."""
    kinds = {layer["name"]: layer["class_name"] for layer in config["layers"]}
    for layer in config["layers"]:
        if is_operation(layer):
            age_operation(layer, lambda value: _reference(value, kinds))
        else:
            layer["inbound_nodes"] = [_aged_call(call, kinds) for call in layer["inbound_nodes"]]
    ends = config["output_layers"]
    for end in _ends(ends):
        end[1] += kinds[end[0]] == "Sequential"  # of a Functional Keras 3 counts so too
    for key in ("input_layers", "output_layers"):
        if isinstance(config[key], list) and isinstance(config[key][0], str):
            config[key] = [config[key]]


def _ends(ends: Any) -> list[Any]:
    if isinstance(ends, dict):
        return list(ends.values())
    return [ends] if isinstance(ends[0], str) else ends


def _reference(value: Any, kinds: dict[str, str]) -> Any:
    """What stands in a call: tensors by their history, slices and `...` as dicts, arrays as lists."""
    if isinstance(value, list):
        return [_reference(one, kinds) for one in value]
    if not isinstance(value, dict):
        return value
    if value["class_name"] == "__slice__":
        return value["config"]
    if value["class_name"] == "__ellipsis__":
        return {"class_name": "__ellipsis__"}
    if value["class_name"] == "__numpy__":
        return value["config"]["value"]
    name, index, tensor = value["config"]["keras_history"]
    return [name, index + (kinds[name] in _MODELS), tensor]


def _aged_call(call: dict[str, Any], kinds: dict[str, str]) -> list[Any]:
    first, *others = [_reference(one, kinds) for one in call["args"]]
    keywords = {key: _reference(value, kinds) for key, value in call["kwargs"].items()}
    keywords |= dict(zip(("value", "key"), others, strict=False))
    fed = ([first] if isinstance(first[0], str) else first) + (keywords.pop("initial_state", None) or [])
    return [[*one, keywords] for one in fed]


def _save(folder: Path, name: str, model: Any, change: Change, rewrite: Callable[[str], str] = str) -> None:
    for suffix in SUFFIXES:
        model.save(folder / f"{name}{suffix}")
        _edit(folder / f"{name}{suffix}", change, rewrite)
    _edit_copy(folder / f"{name}.h5", folder / f"{name}-2.12.h5", _without_module)


def _edit_copy(source: Path, target: Path, change: Change) -> None:
    target.write_bytes(source.read_bytes())
    _edit(target, change)


def _edit(path: Path, change: Change, rewrite: Callable[[str], str] = str) -> None:
    """Change each thing of a class in the description, outermost first, then its text; the file is of Keras 2.15."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = rewrite(_changed(file.attrs["model_config"], change))
            file.attrs["keras_version"] = file["model_weights"].attrs["keras_version"] = "2.15.0"
        return
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content: Any = old.read(name)
            if name == "config.json":
                content = rewrite(_changed(content, change))
            new.writestr(name, '{"keras_version": "2.15.0"}' if name == "metadata.json" else content)
    path.write_bytes(out.getvalue())


def _changed(text: Any, change: Change) -> str:
    config = json.loads(text)
    waiting: list[Any] = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict):
                change(value)
            waiting.extend(value.values())
    return json.dumps(config)
