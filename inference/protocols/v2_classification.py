"""V2's classification extension: the largest values of an output as texts, "value:index:label"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.errors import BadInput
from inference.postprocessing import best_indices, both_scores

Array = np.ndarray[Any, Any]
_KINDS = "fiu"
_MOST_ELEMENTS = 1_000_000


def classes(array: Array, count: int, labels: Sequence[str], name: str) -> tuple[list[bytes], list[int]]:
    """The texts, row by row, and their shape: [batch, k], or [k] for one axis, with k = min(count, classes).

    Raises BadInput if there are none. A missing label becomes `class_17`: NVIDIA's image client prints three parts.
    """
    if array.dtype.kind not in _KINDS or array.dtype.itemsize < 1 or array.ndim < 1 or not array.size:
        raise BadInput(f"The output {name} has no numbers to choose classes from.")
    if array.size > _MOST_ELEMENTS:
        raise BadInput(f"The output {name} has more than {_MOST_ELEMENTS:,} values; classes are not chosen from them.")
    rows = array.reshape(1, -1) if array.ndim == 1 else array.reshape(len(array), -1)
    rows = both_scores(rows, labels)
    count = min(count, rows.shape[1])
    texts = [
        f"{_value(row[index])}:{index}:{label_of(labels, index)}".encode()
        for row in rows
        for index in best_indices(row, count)
    ]
    return texts, [count] if array.ndim == 1 else [len(rows), count]


def label_of(labels: Sequence[str], index: int) -> str:
    return labels[index] if index < len(labels) else f"class_{index}"


def _value(number: np.generic) -> str:
    """Floats as C's %f prints them, integers as they are."""
    return f"{number:f}" if number.dtype.kind == "f" else str(number)
