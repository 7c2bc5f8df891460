"""Operations between layers, for tests.old_models: those of Keras 3 written as Keras 2.15 wrote TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_WRITTEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "Add": ("__operators__.add", ("y",)),
    "Concatenate": ("concat", ()),
    "GetItem": ("__operators__.getitem", ("slice_spec",)),
    "Greater": ("math.greater", ("y",)),
    "Mean": ("math.reduce_mean", ()),
    "Multiply": ("math.multiply", ("y",)),
    "Relu": ("nn.relu", ()),
    "Reshape": ("reshape", ()),
    "Subtract": ("math.subtract", ("y",)),
    "TrueDivide": ("math.truediv", ("y",)),
    "Where": ("where", ("x", "y")),
}
_BIAS = ("nn.bias_add", ("bias",))
_RENAMED = {"newshape": "shape"}


def is_operation(layer: dict[str, Any]) -> bool:
    """HDF5 names no modules, and some layers have the same names."""
    return layer["class_name"] in _WRITTEN and "trainable" not in layer["config"]


def age_operation(layer: dict[str, Any], reference: Callable[[Any], Any]) -> None:
    """`reference` writes tensors and slices as Keras 2 does."""
    settings = {_RENAMED.get(key, key): value for key, value in layer["config"].items() if key != "name"}
    first, *others = (reference(arg) for arg in layer["inbound_nodes"][0]["args"])
    is_bias = layer["class_name"] == "Add" and isinstance(others[0], list) and isinstance(others[0][0], float)
    function, arguments = _BIAS if is_bias else _WRITTEN[layer["class_name"]]
    class_name = "SlicingOpLambda" if function.endswith("getitem") else "TFOpLambda"
    given = {**dict(zip(arguments, others, strict=True)), **settings, "name": None}
    if "module" in layer:
        package = "tf_keras" if function == "reshape" else "keras"
        layer |= {"module": f"{package}.src.layers.core.tf_op_layer", "registered_name": class_name}
    layer["class_name"] = class_name
    layer["config"] = {"name": layer["name"], "trainable": True, "dtype": "float32", "function": function}
    layer["inbound_nodes"] = [_first(first, given)]


def _first(value: Any, others: dict[str, Any]) -> list[Any]:
    """The first argument; all others hang on each tensor and constant in it."""
    if not isinstance(value, list):
        return ["_CONSTANT_VALUE", -1, value, others]
    return [*value, others] if isinstance(value[0], str) else [_first(one, others) for one in value]
