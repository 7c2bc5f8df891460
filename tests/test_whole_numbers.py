"""Whole numbers out of JSON keep all the bits that the input takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference import tensors
from inference.errors import BadInput
from inference.signature import TensorSpec

COUNTS = TensorSpec("counts", "uint64", (None, None))


@pytest.mark.parametrize(
    "value", [[0, 2**64 - 1, 5], [[0, 2**63], [2**63 - 1, 2**53 + 1]], [2**64 - 1], [2**53 + 1], [0]]
)
def test_uint64_keeps_all_its_bits(value: list[Any]) -> None:
    array = tensors.from_lists(value, COUNTS)

    assert array.dtype == np.uint64
    assert array.tolist() == value


@pytest.mark.parametrize(
    "value", [[-1, 2**64 - 1], [0.5, 2**63], [1.0, 2.0], [0, float(2**64)], [0, 2**64], [True, 2**63, None]]
)
def test_what_is_no_uint64_is_refused(value: list[Any]) -> None:
    with pytest.raises(BadInput):
        tensors.from_lists(value, COUNTS)
