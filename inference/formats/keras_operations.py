"""The TensorFlow functions that may be called between the layers of a Keras 2 file, with the arguments allowed.

Keras 2 wrote `tf.math.subtract(x, 1.0)` and `x - 1.0` as a layer TFOpLambda, and indexing as SlicingOpLambda. Its
`function` is the name in TensorFlow. A call holds the first argument, with all others attached by name:
[layer, call, tensor, {…}], a list of these where the first argument is a list, or ["_CONSTANT_VALUE", -1, value, {…}]
where it is no tensor. The names are those that TensorFlow 2.15 writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

OPERATION_LAYERS = frozenset({"SlicingOpLambda", "TFOpLambda"})
CONSTANT = "_CONSTANT_VALUE"
ELLIPSIS = {"class_name": "__ellipsis__"}

_TABLE = """
    __operators__.add y
    __operators__.eq other
    __operators__.getitem slice_spec
    __operators__.ne other
    cast dtype
    clip_by_value clip_value_min clip_value_max
    compat.v1.floor_div y
    compat.v1.gather indices validate_indices axis batch_dims
    compat.v1.norm ord axis keepdims keep_dims
    compat.v1.pad paddings mode constant_values
    compat.v1.shape out_type
    compat.v1.squeeze axis squeeze_dims
    compat.v1.transpose perm conjugate
    concat axis
    expand_dims axis
    gather indices validate_indices axis batch_dims
    identity
    image.grayscale_to_rgb
    image.per_image_standardization
    image.resize size method preserve_aspect_ratio antialias
    image.rgb_to_grayscale
    linalg.matmul b transpose_a transpose_b adjoint_a adjoint_b
    math.abs
    math.add y
    math.argmax axis output_type
    math.cos
    math.cumsum axis exclusive reverse
    math.divide y
    math.divide_no_nan y
    math.equal y
    math.exp
    math.floor
    math.floordiv y
    math.floormod y
    math.greater y
    math.greater_equal y
    math.l2_normalize axis epsilon dim
    math.less y
    math.less_equal y
    math.log
    math.log1p
    math.logical_and y
    math.logical_not
    math.logical_or y
    math.maximum y
    math.minimum y
    math.multiply y
    math.negative
    math.not_equal y
    math.pow y
    math.reciprocal
    math.reduce_max axis keepdims
    math.reduce_mean axis keepdims
    math.reduce_min axis keepdims
    math.reduce_prod axis keepdims
    math.reduce_std axis keepdims
    math.reduce_sum axis keepdims
    math.reduce_variance axis keepdims
    math.round
    math.rsqrt
    math.sigmoid
    math.sign
    math.sin
    math.softplus
    math.sqrt
    math.square
    math.squared_difference y
    math.subtract y
    math.tanh
    math.truediv y
    nn.bias_add bias data_format
    nn.depth_to_space block_size data_format
    nn.elu
    nn.gelu approximate
    nn.leaky_relu alpha
    nn.log_softmax axis
    nn.relu
    nn.relu6
    nn.selu
    nn.silu beta
    nn.softmax axis
    nn.space_to_depth block_size data_format
    one_hot depth on_value off_value axis dtype
    ones_like dtype
    pad paddings mode constant_values
    reshape shape
    reverse axis
    shape out_type
    slice begin size
    split num_or_size_splits axis num
    squeeze axis
    stack axis
    stop_gradient
    tile multiples
    transpose perm conjugate
    unstack num axis
    where x y
    zeros_like dtype
"""

OPERATIONS = {line.split()[0]: frozenset(line.split()[1:]) for line in _TABLE.strip().splitlines()}
"""Function → its arguments after the first. Each function only calculates with tensors: it reads and writes nothing
else, calls no function passed to it, and returns the same result each time."""

_WORDS = frozenset({
    "bool", "bfloat16", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "area", "bicubic", "bilinear", "gaussian", "lanczos3", "lanczos5", "mitchellcubic", "nearest",
    "CONSTANT", "REFLECT", "SYMMETRIC", "NHWC", "NCHW", "euclidean",
})  # fmt: skip
"""All strings allowed in arguments: dtypes, methods of resizing and padding, orders of axes, a norm."""

_SLICE = {"start", "stop", "step"}


def is_plain_call(function: str, call: Any) -> bool:
    """Whether `call` is written as Keras 2 writes a call of `function`, one of OPERATIONS, and gives it nothing but
    tensors, numbers, known words, slices and lists of these."""
    return all(_is_plain_leaf(leaf, OPERATIONS[function]) for leaf in _leaves(call))


def _leaves(call: Any) -> Iterator[Any]:
    """The parts of a call: non-empty lists that do not begin with a string are flattened, all else is kept as it is."""
    waiting = [call]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list) and value and not isinstance(value[0], str):
            waiting.extend(value)
        else:
            yield value


def _is_plain_leaf(leaf: Any, arguments: frozenset[str]) -> bool:
    if not isinstance(leaf, list) or len(leaf) not in (3, 4):
        return False
    keywords = leaf[3] if len(leaf) == 4 else {}
    if not isinstance(keywords, dict) or not isinstance(keywords.get("name"), str | None):
        return False
    if not (_is_plain(leaf[2]) if leaf[:2] == [CONSTANT, -1] else _is_reference(leaf[:3])):
        return False
    return all(key in arguments and _is_plain(value) for key, value in keywords.items() if key != "name")


def _is_plain(value: Any) -> bool:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend([] if _is_reference(item) else item)
        elif isinstance(item, dict):
            if item != ELLIPSIS and item.keys() != _SLICE:
                return False
            waiting.extend([] if item == ELLIPSIS else item.values())
        elif isinstance(item, str) and item not in _WORDS:
            return False
    return True


def _is_reference(value: list[Any]) -> bool:
    return [type(part) for part in value] == [str, int, int]
