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
