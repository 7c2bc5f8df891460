"""Whether a Keras model scales its inputs itself, judged by the first layers in its description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from inference.preprocessing import SCALES_ITSELF

_MAX_LOOKED_AT = 50
_PIXELS = 20.0
"""Dividing by less than this does not count as scaling pixels."""

_MODELS = frozenset({"Sequential", "Functional", "Model"})
# Layers that may come before the scaling; they leave values unchanged, or nearly.
_PASS_ON = frozenset({
    "InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "Reshape", "Permute", "Identity", "Cast",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomCrop", "RandomContrast",
    "RandomBrightness", "RandomHeight", "RandomWidth", "SlicingOpLambda",
})  # fmt: skip
_DIVISIONS = frozenset({"TrueDivide", "Divide"})


def scaling_notes(config: dict[str, Any]) -> tuple[str, ...]:
    """One sentence that begins with SCALES_ITSELF, or none. `config` has passed `check_config`."""
    for _, layer in zip(range(_MAX_LOOKED_AT), _layers(config), strict=False):
        name, inner = layer.get("class_name"), layer.get("config")
        if name in _PASS_ON or (isinstance(inner, dict) and inner.get("function") == "cast"):
            continue
        how = ""
        if name == "Normalization":
            how = "Normalization"
        elif name == "Rescaling" and isinstance(inner, dict):
            how = _rescaling(inner)
        elif name in _DIVISIONS:
            how = _division(layer)
        elif name == "TFOpLambda" and isinstance(inner, dict):
            how = _operation(inner.get("function"), layer)
        return (f"{SCALES_ITSELF} ({how}).",) if how else ()
    return ()


def _layers(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All layers in the order of the description, with inner models replaced by their layers. Not recursive."""
    waiting: list[Any] = [config]
    while waiting:
        item = waiting.pop()
        if not isinstance(item, dict):
            continue
        inner = item.get("config")
        if item.get("class_name") in _MODELS:
            layers = inner.get("layers") if isinstance(inner, dict) else inner  # the oldest files hold a bare list
            waiting.extend(reversed(layers) if isinstance(layers, list) else ())
        else:
            yield item


def _rescaling(inner: dict[str, Any]) -> str:
    scale, offset = inner.get("scale"), inner.get("offset")
    given = scale if isinstance(scale, list) else [scale]
    scales = [one for one in given if _is_number(one) and 0 < abs(one) <= 1 / _PIXELS]
    if not scales or len(scales) < len(given):
        return ""
    text = f"Rescaling 1/{1 / scales[0]:.4g}" if len(set(scales)) == 1 else "Rescaling, each channel its own"
    return f"{text}, {offset:+.3g}".replace("-", "−") if _is_number(offset) and offset else text


def _division(layer: dict[str, Any]) -> str:
    """For `x / 255` written in the model: the divisor is the second argument of the call."""
    node = _first_call(layer)
    arguments = node.get("args") if isinstance(node, dict) else None
    return _divided(arguments[1] if isinstance(arguments, list) and len(arguments) > 1 else None)


def _operation(function: Any, layer: dict[str, Any]) -> str:
    """For the operations that `preprocess_input(inputs)` and `x / 255` became in a Keras 2 model."""
    node = _first_call(layer)
    given = node[3] if isinstance(node, list) and len(node) == 4 and isinstance(node[3], dict) else {}
    y, bias = given.get("y"), given.get("bias")
    if function in ("math.truediv", "math.divide"):
        return _divided(y)
    if function == "math.multiply" and _is_number(y) and y > 0:
        return _divided(1 / y)
    is_mean = isinstance(bias, list) and any(_is_number(one) and one <= -_PIXELS for one in bias)
    return "less the mean of each channel" if function == "nn.bias_add" and is_mean else ""


def _first_call(layer: dict[str, Any]) -> Any:
    nodes = layer.get("inbound_nodes")
    return nodes[0] if isinstance(nodes, list) and nodes else None


def _divided(divisor: Any) -> str:
    return f"divided by {divisor:.4g}" if _is_number(divisor) and divisor >= _PIXELS else ""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
