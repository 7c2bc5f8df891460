"""Lower bounds for the size of the layers in a Keras description.

They are no estimate of memory. A layer whose input is unknown here counts as having one input channel, so that a real
model never seems to need more numbers than its file holds. A model that is too large all the same meets the memory
limit of the process that loads it.
"""

from __future__ import annotations

import math
from typing import Any

from inference.formats.keras_shapes import Shape
from inference.refusal import FileRejected

MAX_SHAPE = 1 << 31
MAX_STEP = 1 << 20
MAX_COUNT = 1 << 31
# Python refuses to print integers of more than 4,300 digits, which JSON may hold.
PRINTABLE = 10**15
_SHAPES = ("batch_shape", "batch_input_shape", "input_shape", "target_shape", "output_shape")
# Kernel sizes, paddings, repetitions: no real layer has a million.
_STEPS = (
    *("kernel_size", "pool_size", "strides", "dilation_rate", "padding", "cropping", "size", "n", "height", "width"),
    *("multiples", "paddings", "block_size", "depth"),
)
_COUNTS = (
    *("units", "filters", "input_dim", "output_dim", "num_heads", "num_query_heads", "num_key_value_heads", "key_dim"),
    *("value_dim", "head_dim", "num_bins", "num_tokens", "max_tokens", "groups", "depth_multiplier", "projection_dim"),
    *("fft_length", "num_mel_bins", "output_sequence_length"),
)
_GATES = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3, "SimpleRNN": 1, "SimpleRNNCell": 1}
_PER_CHANNEL = {"BatchNormalization": 2, "LayerNormalization": 1, "GroupNormalization": 1, "RMSNormalization": 1}


def check_sizes(value: dict[str, Any], place: str) -> None:
    """Raises FileRejected for a declared size that no real layer has. `place` begins the message."""
    for key in _SHAPES:
        if _product(value.get(key)) > MAX_SHAPE:
            raise _oversized(place, key, _product(value.get(key)))
    for key in _STEPS:
        if _largest(value.get(key)) > MAX_STEP:
            raise _oversized(place, key, _largest(value.get(key)))
    for key in _COUNTS:
        if _largest(value.get(key)) > MAX_COUNT:
            raise _oversized(place, key, _largest(value.get(key)))


def numbers_needed(class_name: str, config: dict[str, Any], build_config: Any, fed: Shape | None) -> int:
    """A lower bound for a layer's number of weights; 0 where none is known. `fed` is its input shape, if known."""
    written = build_config.get("input_shape") if isinstance(build_config, dict) else None
    channels = max(_channels(config, written), _channels(config, list(fed) if fed else None))
    units, filters = _largest(config.get("units")), _largest(config.get("filters"))
    if class_name == "Dense":
        return units * channels
    if class_name in _GATES:
        return _GATES[class_name] * units * (units + channels)
    if class_name.startswith(("Embedding", "ReversibleEmbedding")):
        return _largest(config.get("input_dim")) * _largest(config.get("output_dim"))
    if class_name in ("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"):
        heads = _largest(config.get("num_heads")) or _largest(config.get("num_query_heads"))
        return 2 * heads * (_largest(config.get("key_dim")) or _largest(config.get("head_dim")))
    kernel = _kernel(class_name, config.get("kernel_size"))
    if class_name.startswith("Depthwise"):
        return kernel * channels * max(1, _largest(config.get("depth_multiplier")))
    if class_name.startswith("Separable"):
        return kernel * channels + filters * channels
    if class_name.startswith("Conv") and "filters" in config:
        return kernel * filters * max(1, channels // max(1, _largest(config.get("groups"))))
    if class_name in _PER_CHANNEL:
        return _PER_CHANNEL[class_name] * (channels if channels > 1 else 0)
    return 0


def _kernel(class_name: str, value: Any) -> int:
    """The numbers in a kernel. Keras uses a single size for every axis; the class name tells how many there are."""
    if isinstance(value, int) and not isinstance(value, bool):
        axes = next((int(char) for char in class_name if char in "123"), 1)
        return int(max(1, min(value, MAX_STEP)) ** axes)
    return max(1, _product(value))


def _channels(config: dict[str, Any], shape: Any) -> int:
    """The size of the axis that the layer works on; 1 if `shape` is no shape or leaves it open."""
    if not isinstance(shape, list) or not shape or not all(size is None or _is_count(size) for size in shape):
        return 1
    first = config.get("data_format") == "channels_first"
    axis = config.get("axis")
    index = 1 if first else -1
    if isinstance(axis, int) and not isinstance(axis, bool) and -len(shape) <= axis < len(shape):
        index = axis
    if index >= len(shape):
        return 1
    return max(1, int(shape[index] or 1))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _largest(value: Any) -> int:
    """The largest whole number in a number or a nested list of them; 0 without one."""
    waiting, largest = [value], 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif _is_count(item) or (isinstance(item, float) and math.isfinite(item)):
            largest = max(largest, int(item))
    return min(largest, PRINTABLE)


def _product(value: Any) -> int:
    """The product of the fixed sizes of a shape; 1 for anything else."""
    if not isinstance(value, list):
        return 1
    return min(PRINTABLE, math.prod(max(1, min(PRINTABLE, int(size))) for size in value[:64] if _is_count(size)))


def _oversized(place: str, key: str, size: int) -> FileRejected:
    return FileRejected(
        f"{place} declares {size:,} for '{key}', which no real model has. Save the model again and upload the new file."
    )
