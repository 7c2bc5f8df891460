"""Rules for what Keras 3 would misread in Keras 2's description of a layer; each changes the description.

The rules were found by loading files of Keras 2.15 (TensorFlow 2.15) and of earlier versions in Keras 3.15.
"""

from __future__ import annotations

from typing import Any

from inference.engines import ModelUnusable
from inference.formats.keras_names import OLD_NAMES
from inference.formats.keras_operations import OPERATION_LAYERS, OPERATIONS

OLD_HARD_SIGMOID = "portal>hard_sigmoid"
"""Registered by inference/engines/keras_corrections.py."""

OLD_OPERATION = "portal>operation"
"""Registered by inference/engines/keras_operations.py."""

EXPORT = "Export the model with the TensorFlow that made it (model.export('name')) and upload the folder as a zip."

_SEPARABLE = ("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
_TRANSPOSED = (
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Convolution1DTranspose", "Convolution2DTranspose"),
    "Convolution3DTranspose",
)
_RECURRENT = ("RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_FIXED: dict[str, tuple[str, object]] = {
    **dict.fromkeys((*_SEPARABLE, *_TRANSPOSED, "DepthwiseConv1D", "DepthwiseConv2D"), ("groups", 1)),
    **dict.fromkeys(_RECURRENT, ("time_major", False)),
    **dict.fromkeys(("Attention", "AdditiveAttention"), ("causal", False)),
}
"""Class → an argument that Keras 3 no longer has, and its only value that Keras 3 still computes."""

_IDLE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_SEPARABLE, ("kernel_initializer", "kernel_regularizer", "kernel_constraint")),
    **dict.fromkeys(("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), ("trainable", "noise_shape")),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),
    "Softmax": ("robust_masking",),
    "Discretization": ("trainable",),
}
"""Class → arguments that Keras 3 no longer has and that changed no output: they were for training, repeat the inputs'
shapes, or choose between two ways of masking that both weigh masked positions zero (robust or not: tf_keras 2.21)."""

_OF_APPLICATIONS = {
    "LayerScale": "convnext",
    "StochasticDepth": "convnext",
    "CustomScaleLayer": "inception_resnet_v2",
}
"""Class → its module, by which Keras finds it."""

_MISREAD = frozenset({"Attention", "LayerNormalization", "Normalization", "Softmax", "UnitNormalization"})
_POLICIES = frozenset({"Policy", "PolicyV1"})


def repair_layer(item: dict[str, Any]) -> None:
    """Change a layer's description to what Keras 3 reads as the same layer.

    Raises ModelUnusable where Keras 3 has no such layer.
    """
    config = item.get("config")
    if not isinstance(config, dict):
        return
    if item["class_name"] in OLD_NAMES or item.get("registered_name") in OLD_NAMES:
        item["class_name"] = OLD_NAMES.get(item["class_name"], item["class_name"])
        item.pop("registered_name", None)
    class_name = item["class_name"]
    if class_name in OPERATION_LAYERS:
        _name_operation(item)
        return
    _drop_arguments(class_name, config)
    config.pop("rng_type", None)  # how tf_keras draws random numbers in training
    if class_name != "InputLayer":
        config.pop("batch_input_shape", None)  # the input layer has it too
    if class_name in _OF_APPLICATIONS:
        item["module"] = _application(class_name)  # tf_keras has another name for it
    place_layer(item)
    _unpack_axis(class_name, config)
    _name_policy(config)
    _keep_hard_sigmoid(config)
    if class_name == "ReLU" and "theta" in config:
        config["threshold"] = config.pop("theta")  # of a ThresholdedReLU
    if class_name == "Discretization":
        config.pop("dtype", None)  # that of the output; Keras 3 would cast the input to integers, all 0
    if class_name in ("GRU", "GRUCell"):
        config.setdefault("reset_after", False)  # Keras 2.1 did not have it; Keras 3 defaults to True
    if isinstance(config.get("name"), str):
        config["name"] = config["name"].replace("/", "_")


def _name_operation(item: dict[str, Any]) -> None:
    """Use the portal's own operation, which computes only OPERATIONS even if the file is trusted."""
    name, function = str(item["config"].get("name")), str(item["config"].get("function"))
    if function not in OPERATIONS:
        raise ModelUnusable(
            f"The layer '{name[:80]}' calls TensorFlow's 'tf.{function[:80]}', which is not computed here outside of a "
            f"SavedModel. {EXPORT}"
        )
    own = {"module": None, "class_name": OLD_OPERATION, "registered_name": OLD_OPERATION}
    item |= {**own, "config": {"name": name, "function": function}}


def _drop_arguments(class_name: str, config: dict[str, Any]) -> None:
    for argument in _IDLE.get(class_name, ()):
        config.pop(argument, None)
    if class_name not in _FIXED:
        return
    argument, harmless = _FIXED[class_name]
    if (value := config.pop(argument, None)) not in (harmless, None):
        name = str(config.get("name", class_name))[:80]
        raise ModelUnusable(
            f"The layer '{name}' has {argument} = {str(value)[:20]}, which Keras 3 cannot compute. "
            "Build the model again in Keras 3."
        )


def place_layer(item: dict[str, Any]) -> bool:
    """Add the module, which HDF5 leaves out, of a layer that Keras 3 would otherwise not find (those of its
    applications) or misread: it loses an axis that is a list of several or null, and takes the mode "dot" for a
    function (legacy/saving: saving_utils.py, serialization.py). Returns whether this is such a layer."""
    class_name = item["class_name"]
    if "module" in item or class_name not in (*_MISREAD, *_OF_APPLICATIONS):
        return False
    item["module"] = _application(class_name) if class_name in _OF_APPLICATIONS else "keras.layers"
    return True


def _application(class_name: str) -> str:
    return f"keras.src.applications.{_OF_APPLICATIONS[class_name]}"


def _unpack_axis(class_name: str, config: dict[str, Any]) -> None:
    """Keras 2 wrote a single axis as a list of one."""
    axis = config.get("axis")
    if class_name in ("BatchNormalization", "LayerNormalization") and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _name_policy(config: dict[str, Any]) -> None:
    policy = config.get("dtype")
    if isinstance(policy, dict) and policy.get("class_name") in _POLICIES:
        config["dtype"] = (policy.get("config") or {}).get("name", "float32")


def _keep_hard_sigmoid(config: dict[str, Any]) -> None:
    """Under this name, Keras 3 computes another function."""
    for key in ("activation", "recurrent_activation"):
        value = config.get(key)
        name = value.get("config") if isinstance(value, dict) and value.get("class_name") == "function" else value
        if name == "hard_sigmoid":
            config[key] = {"class_name": "function", "config": OLD_HARD_SIGMOID, "registered_name": OLD_HARD_SIGMOID}
