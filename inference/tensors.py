"""Tensors of a request: converts nested lists to arrays, and checks whether they fit the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from inference import texts
from inference.errors import BadInput, TooLarge, ValidationFailed
from inference.signature import Signature, TensorSpec
from inference.wire import dtype_name

Array = np.ndarray[Any, Any]
MOST_AXES = 32
"""The most axes of a tensor: no model has more, and numpy's limit is near."""
MOST_EMPTY_ROWS = 10_000
"""The most rows of a tensor without values. Such rows cost nothing to send: 88 bytes for 2^31 took an engine 30 s."""
WIDER_THAN_INT32 = frozenset({"uint32", "int64", "uint64"})
_INT32 = np.iinfo(np.int32)


def from_instances(instances: Any, signature: Signature) -> dict[str, Array]:
    """The row form: a list of examples, each a value, or an object of values by input name (needed for several inputs).

    The arrays get a batch axis in front: [N] + the shape of an example.
    """
    if not isinstance(instances, list) or not instances:
        raise ValidationFailed.of("instances", "instances is a list with at least one example.")
    names = [spec.name for spec in signature.inputs]
    if any(map(_is_named, instances)):
        columns: dict[str, list[Any]] = {name: [] for name in names}
        for example in instances:
            if not isinstance(example, dict) or set(example) != set(names):
                raise BadInput(f"Each example names exactly these inputs: {', '.join(names)}.")
            for name in names:
                columns[name].append(example[name])
        return from_columns(columns, signature)
    if len(names) != 1:
        raise BadInput(f"The model takes {len(names)} inputs. Send each example as an object of {', '.join(names)}.")
    return {names[0]: from_lists(instances, signature.inputs[0])}


def _is_named(example: Any) -> bool:
    return isinstance(example, dict) and not texts.is_encoded(example)


def from_columns(inputs: Any, signature: Signature) -> dict[str, Array]:
    """The column form: nested lists by input name, with the batch axis; a single input may come without its name."""
    names = [spec.name for spec in signature.inputs]
    if not isinstance(inputs, dict) or texts.is_encoded(inputs):
        if len(names) != 1:
            raise BadInput(f"The model takes {len(names)} inputs. Send an object of {', '.join(names)}.")
        inputs = {names[0]: inputs}
    if set(inputs) != set(names):
        raise _other_names(inputs, signature)
    return {spec.name: from_lists(inputs[spec.name], spec) for spec in signature.inputs}


def from_lists(value: Any, spec: TensorSpec) -> Array:
    """`value` in the input's dtype. Raises BadInput for ragged lists, values of another kind, and overflow."""
    if spec.dtype == texts.DTYPE:
        return _texts(value, spec)
    _check_numbers(value, spec)
    try:
        array = np.asarray(value)
    except ValueError:
        raise BadInput(f"The lists for {spec.name} are of different lengths.") from None
    if array.dtype == object:
        raise BadInput(f"The lists for {spec.name} hold something that is no number, or are of different lengths.")
    wanted = np.dtype(spec.dtype)
    if wanted == np.uint64 and array.dtype.kind == "f":
        array = _exact(value, array)
    if array.size and not _fits(array, wanted):
        raise BadInput(f"The input {spec.name} takes {spec.dtype}; the request holds other values.")
    try:
        with np.errstate(over="raise"):
            return array.astype(wanted)
    except FloatingPointError:
        raise BadInput(f"The input {spec.name} takes {spec.dtype}; the request holds a number beyond it.") from None


def _texts(value: Any, spec: TensorSpec) -> Array:
    try:
        array = np.array(value, object)  # lists become axes as far as they have equal lengths
    except ValueError:
        raise BadInput(f"The lists for {spec.name} are of different lengths.") from None
    check_count(array.size, spec.name)
    flat = array.reshape(-1)
    for i, item in enumerate(flat):
        if isinstance(item, list):
            raise BadInput(f"The lists for {spec.name} are of different lengths.")
        try:
            flat[i] = texts.from_json(item)
        except ValueError:
            raise BadInput(
                f'The input {spec.name} takes texts, or {{"b64": …}} in standard base64; the request holds others.'
            ) from None
    return array


def check_count(count: int, name: str) -> None:
    """Raises TooLarge for more texts than one input takes."""
    if count > texts.MOST_TEXTS:
        raise TooLarge(f"The input {name} takes at most {texts.MOST_TEXTS:,} texts in one request.")


def _check_numbers(value: Any, spec: TensorSpec) -> None:
    """Raises BadInput if the nested lists hold a text, or are nested deeper than a tensor can be.

    numpy would give every element as much room as the longest text: 100 kB of them became 37 GiB. The lists are checked
    level by level, because a call for each list costs more than a small model takes.
    """
    level = [value]
    for _ in range(MOST_AXES + 1):
        kinds = set(map(type, level))
        if str in kinds:
            raise BadInput(f"The lists for {spec.name} hold text; the input takes {spec.dtype}.")
        if list not in kinds:
            return
        lists = level if len(kinds) == 1 else [item for item in level if type(item) is list]
        level = list(chain.from_iterable(lists))
    raise BadInput(f"The lists for {spec.name} are nested more than {MOST_AXES} deep.")


def _exact(value: Any, rounded: Array) -> Array:
    """The integers as uint64. numpy makes floats of them if some are below 2^63 and some are not, which rounds."""
    numbers = np.asarray(value, object)
    are_whole = all(type(number) is int and number >= 0 for number in numbers.flat)
    return numbers.astype(np.uint64) if are_whole else rounded


def _fits(array: Array, wanted: np.dtype[Any]) -> bool:
    if wanted.kind == "b":
        return bool(array.dtype.kind == "b")
    if array.dtype.kind not in "iuf":
        return False
    if wanted.kind == "f":
        return True
    if array.dtype.kind == "f":
        return False
    limits = np.iinfo(wanted)
    return bool(array.min() >= limits.min and array.max() <= limits.max)


def conform(inputs: Mapping[str, Array], signature: Signature) -> dict[str, Array]:
    """The inputs in the signature's order. Raises BadInput if names, dtypes, shapes or vocabulary indices do not fit,
    TooLarge for very many rows without values."""
    conformed: dict[str, Array] = {}
    has_no_example = False
    for spec in signature.inputs:
        array = inputs.get(spec.name)
        if array is None:
            raise _other_names(inputs, signature)
        if dtype_name(array.dtype) != spec.dtype:
            raise BadInput(f"The input {spec.name} takes {spec.dtype}, not {dtype_name(array.dtype)}.")
        if not _shape_fits(array.shape, spec):
            raise BadInput(
                f"The input {spec.name} takes the shape {show_shape(spec.shape)}; "
                f"the request has {show_shape(array.shape)}."
            )
        if not array.size:
            _check_empty(array.shape, spec)
            has_no_example = has_no_example or (spec.shape[0] is None and array.shape[0] == 0)
        elif spec.below is not None:
            _check_vocabulary(array, spec.name, spec.below)
        conformed[spec.name] = array
    if len(conformed) != len(inputs):
        raise _other_names(inputs, signature)
    if has_no_example:
        raise BadInput("The request holds no example.")
    return conformed


def _other_names(inputs: Iterable[str], signature: Signature) -> BadInput:
    names = ", ".join(spec.name for spec in signature.inputs)
    return BadInput(
        f"The model takes these inputs: {names}. The request names {', '.join(map(str, inputs))[:200] or 'none'}."
    )


def _check_empty(shape: tuple[int, ...], spec: TensorSpec) -> None:
    rows = math.prod(size for size, fixed in zip(shape, spec.shape, strict=True) if size and size != fixed)
    if rows > MOST_EMPTY_ROWS:
        raise TooLarge(
            f"The input {spec.name} holds no values but {rows:,} rows; at most {MOST_EMPTY_ROWS:,} such rows are taken."
        )


def _check_vocabulary(array: Array, name: str, below: int) -> None:
    """Needed because OpenVINO, and TensorFlow on a GPU, do not refuse numbers beyond the vocabulary."""
    least, most = array.min(), array.max()
    if not (least >= 0 and most < below):  # NaN is neither
        wrong = most if least >= 0 else least
        raise BadInput(f"The input {name} takes numbers from 0 to {below - 1:,}; the request holds {wrong:,}.")


def check_width(inputs: Mapping[str, Array]) -> None:
    """Raises BadInput for a number beyond int32, which a narrow engine would turn into another one."""
    for name, array in inputs.items():
        if dtype_name(array.dtype) not in WIDER_THAN_INT32 or not array.size:
            continue
        least, most = array.min(), array.max()
        if least < _INT32.min or most > _INT32.max:
            raise BadInput(
                f"In OpenVINO, which computes whole numbers in 32 bits, the input {name} takes {_INT32.min:,} to "
                f"{_INT32.max:,}; the request holds {least if least < _INT32.min else most:,}. Choose another "
                "engine for such numbers."
            )


def _shape_fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Whether the model takes `shape`. If its batch size is fixed at one, any is accepted: the runner splits it."""
    if len(shape) != len(spec.shape):
        return False
    if shape and spec.shape[0] not in (None, 1, shape[0]):
        return False
    example, wanted = shape[1:], spec.shape[1:]
    return example == wanted or all(want is None or want == have for want, have in zip(wanted, example, strict=True))


def show_shape(shape: tuple[int | None, ...]) -> str:
    """A shape for people: (any, 224, 224, 3)."""
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
