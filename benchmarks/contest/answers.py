"""Reads the servers' answers, each in its own form, as (index, score) of the best, and tells whether they are right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Top = list[tuple[int, float]]
TOLERANCE = 1e-3


def is_right(body: bytes, form: str, right: Sequence[Sequence[float]]) -> bool:
    """Whether the indices are the same in the same order, and scores within 1e-3. An unreadable answer is wrong."""
    try:
        top = _READERS[form](body, len(right))
    except (ValueError, KeyError, IndexError, TypeError):
        return False
    return len(top) == len(right) and all(
        index == wanted and abs(score - wanted_score) < TOLERANCE
        for (index, score), (wanted, wanted_score) in zip(top, right, strict=True)
    )


def _plain(body: bytes, count: int) -> Top:
    return [(int(index), float(score)) for index, score in json.loads(body)["top"]]


def _prediction(body: bytes, count: int) -> Top:
    return [(int(row["index"]), float(row["score"])) for row in json.loads(body)["predictions"][0]["top"]]


def _classes(body: bytes, count: int) -> Top:
    """V2's classification: "score:index:label"."""
    texts = [text.split(":") for text in json.loads(body)["outputs"][0]["data"]]
    return [(int(index), float(score)) for score, index, *_ in texts]


def _numbers(body: bytes, count: int) -> Top:
    """V2 in JSON: all scores."""
    return _best(np.asarray(json.loads(body)["outputs"][0]["data"], np.float64).reshape(-1), count)


def _binary(body: bytes, count: int) -> Top:
    """V2 in binary: JSON, then all scores."""
    head, at = json.JSONDecoder().raw_decode(body[: body.rindex(b"]}") + 2].decode("latin-1"))
    size = head["outputs"][0]["parameters"]["binary_data_size"]
    if at + size != len(body):
        raise ValueError("the answer has another size than it says")
    return _best(np.frombuffer(body[at:], "<f4"), count)


def _two_outputs(body: bytes, count: int) -> Top:
    index, score = (output["data"] for output in json.loads(body)["outputs"])
    return [(int(i), float(s)) for i, s in zip(index, score, strict=True)]


def _best(scores: np.ndarray[Any, Any], count: int) -> Top:
    return [(int(i), float(scores[i])) for i in np.argsort(-scores)[:count]]


_READERS: dict[str, Callable[[bytes, int], Top]] = {
    "plain": _plain,
    "prediction": _prediction,
    "classes": _classes,
    "numbers": _numbers,
    "binary": _binary,
    "two outputs": _two_outputs,
}
