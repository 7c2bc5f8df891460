"""Follows shapes from layer to layer through a Keras description, as far as simple rules go.

Keras 2 does not record the shape of a layer's input, and a hostile file may omit it; without it, a Dense layer of
100,000 units after another one seems to have 100,000 weights instead of 10,000,000,000. There are rules for the layers
that most models consist of; after any other layer the shape is unknown (None), which is never wrong.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Any

Shape = tuple[int | None, ...]
LARGEST = 10**15

_UNCHANGED = frozenset(
    {"Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "ELU", "GaussianDropout"}
    | {"GaussianNoise", "GroupNormalization", "Identity", "LayerNormalization", "LeakyReLU", "Masking", "PReLU", "ReLU"}
    | {"Rescaling", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "UnitNormalization"}
    | {"LayerScale", "StochasticDepth"}
)
_ELEMENTWISE = frozenset(
    {"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "CustomScaleLayer", "Custom>CustomScaleLayer"}
)
_RESIZING = frozenset({"Cropping", "UpSampling", "ZeroPadding"})
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})
_AXES = {"1D": 1, "2D": 2, "3D": 3}


def input_shapes(model: dict[str, Any]) -> dict[int, Shape]:
    """The input shape, with the batch axis, of each direct layer of a Sequential or Functional description, by the `id`
    of the layer's dict. Layers whose input is unknown are left out."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list):
        return {}
    layers = [one for one in layers if isinstance(one, dict) and isinstance(one.get("config"), dict)]
    return _in_line(layers) if model.get("class_name") == "Sequential" else _in_graph(layers)


def _in_line(layers: list[dict[str, Any]]) -> dict[int, Shape]:
    shapes: dict[int, Shape] = {}
    shape: Shape | None = None
    for layer in layers:
        shape = _declared(layer["config"]) or shape
        if shape is not None:
            shapes[id(layer)] = shape
        shape = _after(layer, shape)
    return shapes


def _in_graph(layers: list[dict[str, Any]]) -> dict[int, Shape]:
    """Layers may come in any order; each is handled once all layers that feed its first call have been."""
    named = {str(layer.get("name", layer["config"].get("name"))): layer for layer in layers}
    sources = {name: [one for one in _first_call(layer) if one in named] for name, layer in named.items()}
    followers: dict[str, list[str]] = {name: [] for name in named}
    missing = {name: len(set(feeding)) for name, feeding in sources.items()}
    for name, feeding in sources.items():
        for one in set(feeding):
            followers[one].append(name)
    outputs: dict[str, Shape | None] = {}
    shapes: dict[int, Shape] = {}
    waiting = deque(name for name, count in missing.items() if count == 0)
    while waiting:
        name = waiting.popleft()
        layer = named[name]
        fed = [outputs[one] for one in sources[name]]
        declared = _declared(layer["config"])
        shape = fed[0] if len(fed) == 1 else declared if not fed else None
        if shape is not None:
            shapes[id(layer)] = shape
        outputs[name] = _merged(layer, fed) if len(fed) > 1 else _after(layer, shape)
        for follower in followers[name]:
            missing[follower] -= 1
            if missing[follower] == 0:
                waiting.append(follower)
    return shapes


def _first_call(layer: dict[str, Any]) -> list[str]:
    """The layers that feed the first call: [["name", 0, 0, {}], …] in Keras 2, tensors with `keras_history` in 3."""
    nodes = layer.get("inbound_nodes")
    if not isinstance(nodes, list) or not nodes:
        return []
    if isinstance(nodes[0], list):
        return [one[0] for one in nodes[0] if isinstance(one, list) and one and isinstance(one[0], str)]
    return list(_histories(nodes[0]))


def _histories(node: Any) -> Iterator[str]:
    waiting = [node]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            history = value.get("keras_history")
            if isinstance(history, list) and history and isinstance(history[0], str):
                yield history[0]
            else:
                waiting.extend(reversed(list(value.values())))


def _declared(config: dict[str, Any]) -> Shape | None:
    return _shape(config.get("batch_shape")) or _shape(config.get("batch_input_shape"))


def _shape(value: Any) -> Shape | None:
    if not isinstance(value, list) or not 1 <= len(value) <= 16:
        return None
    if not all(size is None or (_is_size(size) and size <= LARGEST) for size in value):
        return None
    return tuple(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _merged(layer: dict[str, Any], fed: list[Shape | None]) -> Shape | None:
    known = [shape for shape in fed if shape is not None]
    if len(known) < len(fed) or len({len(shape) for shape in known}) != 1 or len(known[0]) < 2:
        return None
    same = [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*known, strict=True)]
    if layer["class_name"] in _ELEMENTWISE:
        return tuple(same)
    axis = layer["config"].get("axis", -1)
    if layer["class_name"] != "Concatenate" or axis not in (-1, len(same) - 1):
        return None
    last = [shape[-1] for shape in known]
    return (*same[:-1], None if None in last else min(LARGEST, sum(size or 0 for size in last)))


def _after(layer: dict[str, Any], shape: Shape | None) -> Shape | None:
    """The output shape, or None if no rule is known."""
    class_name, config = str(layer.get("class_name")), layer["config"]
    if shape is None or len(shape) < 2 or config.get("data_format") == "channels_first":
        return None
    if class_name == "InputLayer" or class_name in _UNCHANGED:
        return shape
    if class_name == "Dense" and _is_size(config.get("units")):
        return (*shape[:-1], config["units"])
    if class_name == "Flatten":
        return (shape[0], None if None in shape[1:] else min(LARGEST, math.prod(size or 0 for size in shape[1:])))
    if class_name == "Embedding" and _is_size(config.get("output_dim")):
        return (*shape, config["output_dim"])
    if class_name in _RECURRENT and _is_size(config.get("units")) and not config.get("return_state"):
        return (*shape[:2], config["units"]) if config.get("return_sequences") else (shape[0], config["units"])
    if class_name == "RepeatVector" and _is_size(config.get("n")) and len(shape) == 2:
        return (shape[0], config["n"], shape[1])
    if class_name == "Reshape" and isinstance(config.get("target_shape"), list):
        target = _shape(config["target_shape"])
        return (shape[0], *target) if target and None not in target else None
    return _after_window(class_name, config, shape)


def _after_window(class_name: str, config: dict[str, Any], shape: Shape) -> Shape | None:
    axes = _AXES.get(class_name[-2:], 0)
    if not axes or len(shape) != axes + 2:
        return None
    kind = class_name[:-2]
    if kind in ("GlobalAveragePooling", "GlobalMaxPooling"):
        return (shape[0], *([1] * axes), shape[-1]) if config.get("keepdims") else (shape[0], shape[-1])
    if kind in _RESIZING:
        return (shape[0], *([None] * axes), shape[-1])
    if kind in ("Conv", "SeparableConv") and _is_size(config.get("filters")):
        channels: int | None = config["filters"]
    elif kind in ("MaxPooling", "AveragePooling"):
        channels = shape[-1]
    elif kind == "DepthwiseConv" and shape[-1] is not None and _is_size(config.get("depth_multiplier", 1)):
        channels = shape[-1] * config.get("depth_multiplier", 1)
    else:
        return None
    window = _per_axis(config.get("pool_size", config.get("kernel_size")), axes)
    strides = _per_axis(config.get("strides") or config.get("pool_size") or 1, axes)
    dilation = _per_axis(config.get("dilation_rate", 1), axes)
    if window is None or strides is None or dilation is None or config.get("padding", "valid") not in ("valid", "same"):
        return (shape[0], *([None] * axes), channels)
    if config.get("padding") != "same":
        cut = [step * (size - 1) for size, step in zip(window, dilation, strict=True)]
    else:
        cut = [0] * axes
    sizes = [
        None if size is None else max(0, -(-(size - less) // stride))
        for size, less, stride in zip(shape[1:-1], cut, strides, strict=True)
    ]
    return (shape[0], *sizes, channels)


def _per_axis(value: Any, axes: int) -> list[int] | None:
    values = value if isinstance(value, list) else [value] * axes
    if len(values) != axes or not all(_is_size(one) and 1 <= one <= LARGEST for one in values):
        return None
    return values
