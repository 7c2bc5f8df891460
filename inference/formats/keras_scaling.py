"""Whether a Keras model scales its inputs itself, judged by the first layers in its description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from inference.formats.keras_names import MODELS
from inference.preprocessing import SCALES_ITSELF

_MAX_LOOKED_AT = 50
_PIXELS = 20.0
"""Dividing by less than this, or taking away less, does not count as scaling pixels."""

# Layers that may come before the scaling; they leave values unchanged, or nearly. So do those called Random….
_PASS_ON = frozenset({
    "InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "Reshape", "Permute", "Identity", "Cast",
    "RandAugment", "AugMix", "MixUp", "CutMix", "GaussianNoise", "Dropout", "Resize", "GetItem", "Stack", "Concatenate",
    "SlicingOpLambda",
})  # fmt: skip
_OPERATIONS = frozenset({"TrueDivide", "Divide", "Multiply", "Subtract", "Add"})


def scaling_notes(config: dict[str, Any]) -> tuple[str, ...]:
    """One sentence that begins with SCALES_ITSELF, or none. `config` has passed `check_config`."""
    for _, layer in zip(range(_MAX_LOOKED_AT), _layers(config), strict=False):
        name, inner = layer.get("class_name"), layer.get("config")
        if _passes_on(str(name)) or (isinstance(inner, dict) and inner.get("function") == "cast"):
            continue
        how = ""
        if name == "Normalization":
            how = "Normalization"
        elif name == "Rescaling" and isinstance(inner, dict):
            how = _rescaling(inner)
        elif name in _OPERATIONS:
            how = _operation(str(name), layer)
        elif name == "TFOpLambda" and isinstance(inner, dict):
            how = _old_operation(inner.get("function"), layer)
        return (f"{SCALES_ITSELF} ({how}).",) if how else ()
    return ()


def _passes_on(class_name: str) -> bool:
    return class_name in _PASS_ON or class_name.startswith("Random")


def _layers(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All layers in the order of the description, with inner models replaced by their layers. Not recursive."""
    waiting: list[Any] = [config]
    while waiting:
        item = waiting.pop()
        if not isinstance(item, dict):
            continue
        inner = item.get("config")
        if item.get("class_name") in MODELS:
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


def _operation(name: str, layer: dict[str, Any]) -> str:
    """For `preprocess_input(inputs)`, `x / 255` or `x - 127.5` in the model: a call with a tensor and a constant.
    Keras' layers of the same names get a list of tensors."""
    node = _first_call(layer)
    arguments = node.get("args") if isinstance(node, dict) else None
    first, second = arguments if isinstance(arguments, list) and len(arguments) == 2 else (None, None)
    if name == "Multiply":
        return _multiplied(first if _is_number(first) else second)
    if name in ("Subtract", "Add"):
        return _less(second, sign=1 if name == "Subtract" else -1)
    return _divided(second)


def _old_operation(function: Any, layer: dict[str, Any]) -> str:
    """The same as Keras 2 wrote it."""
    node = _first_call(layer)
    given = node[3] if isinstance(node, list) and len(node) == 4 and isinstance(node[3], dict) else {}
    if function in ("math.truediv", "math.divide"):
        return _divided(given.get("y"))
    if function == "math.multiply":
        return _multiplied(given.get("y"))
    if function == "math.subtract":
        return _less(given.get("y"))
    return _less(given.get("bias"), sign=-1) if function == "nn.bias_add" else ""


def _first_call(layer: dict[str, Any]) -> Any:
    nodes = layer.get("inbound_nodes")
    return nodes[0] if isinstance(nodes, list) and nodes else None


def _divided(divisor: Any) -> str:
    return f"divided by {divisor:.4g}" if _is_number(divisor) and divisor >= _PIXELS else ""


def _multiplied(factor: Any) -> str:
    return _divided(1 / factor) if _is_number(factor) and factor > 0 else ""


def _less(constant: Any, sign: int = 1) -> str:
    """For a number, or an array of them, that is taken away, or added if `sign` is -1."""
    taken = [sign * number for number in _numbers(constant)]
    if not any(number >= _PIXELS for number in taken):
        return ""
    return f"less {taken[0]:.4g}" if len(taken) == 1 else "less the mean of each channel"


def _numbers(constant: Any) -> list[float]:
    """Those of a constant: a number, nested lists, or an array as Keras 3 writes it. Not recursive."""
    inner = constant.get("config") if isinstance(constant, dict) else None
    waiting = [inner.get("value") if isinstance(inner, dict) else constant]
    found = []
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        elif _is_number(item):
            found.append(item)
    return found


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
