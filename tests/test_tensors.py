"""Nested lists become arrays in the dtype of an input, or a sentence says why not."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import BadInput
from inference.signature import TensorSpec
from inference.tensors import from_lists


@pytest.mark.parametrize(
    ("value", "dtype"),
    [([1e300], "float32"), ([[1.0], [-1e39]], "float32"), ([70000], "float16"), ([300], "uint8"), ([-1], "uint16")],
)
def test_a_number_beyond_the_dtype_is_refused(value: list[object], dtype: str) -> None:
    with pytest.raises(BadInput, match=f"^The input x takes {dtype}; the request holds "):
        from_lists(value, TensorSpec("x", dtype, (None,)))


def test_a_number_within_the_dtype_is_taken_whatever_is_lost_of_it() -> None:
    taken = from_lists([1e-300, 3.4e38, 0.1], TensorSpec("x", "float32", (None,)))

    assert (taken.dtype, taken[0], taken[2]) == (np.float32, 0.0, np.float32(0.1))


@pytest.mark.parametrize(
    ("depth", "leaf", "sentence"),
    [(33, 1.0, "nested more than 32 deep"), (500, "a", "nested more than 32 deep"), (3, "a", "hold text")],
)
def test_texts_and_lists_too_deep_for_a_tensor_are_told_apart(depth: int, leaf: object, sentence: str) -> None:
    value = leaf
    for _ in range(depth):
        value = [value]

    with pytest.raises(BadInput, match=f"^The lists for x .*{sentence}"):
        from_lists(value, TensorSpec("x", "float32", (None,)))
