"""Sizes to try for free dimensions of a model where no real examples are given: at a load and for comparisons."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from inference import texts
from inference.signature import TensorSpec

_SIZES = (32, 512, 4096, 16384, 8)
"""Steps or samples. 32 is too short for a network of a few convolutions and poolings, 512 for a spectrogram of sound;
SpliceAI cuts off 5,000 at either side. Few models take fewer than 32 words, so 8 comes last."""
_MOST_BYTES = 2**22
"""The most bytes of one example. A plane of 4,096 by 4,096 has more and is not tried."""


def free_sizes(specs: Iterable[TensorSpec]) -> list[int]:
    """Sizes to try in turn until the model accepts one; only the first if no dimension is free."""
    specs = list(specs)
    if all(None not in spec.shape[1:] for spec in specs):
        return [_SIZES[0]]
    return [_SIZES[0], *(n for n in _SIZES[1:] if _example_bytes(specs, n) <= _MOST_BYTES)]


def _example_bytes(specs: Iterable[TensorSpec], free: int) -> int:
    return sum(math.prod(free if n is None else n for n in spec.shape[1:]) * _itemsize(spec) for spec in specs)


def _itemsize(spec: TensorSpec) -> int:
    return 1 if spec.dtype == texts.DTYPE else np.dtype(spec.dtype).itemsize
