"""Options as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from inference.errors import ValidationFailed
from inference.options import Options, parse_options


def test_everything_is_optional() -> None:
    assert parse_options({}) == Options() == parse_options(None)
    assert Options().as_json() == {}


def test_what_was_given_comes_back() -> None:
    given = {
        "precision": "bf16",
        "threads": 2,
        "max_batch": 16,
        "max_wait_ms": 2.5,
        "queue_limit": 64,
        "memory_limit_bytes": 4 * 2**30,
        "predict_timeout_s": 10,
        "graph_inputs": ["image"],
        "graph_outputs": ["scores", "split:1"],
    }

    assert parse_options(given).as_json() == given


@pytest.mark.parametrize(
    "value",
    [
        [], "f32", 3, True,
        {"treads": 2}, {3: 2},
        {"precision": "int8"}, {"precision": 32}, {"precision": ["f32"]},
        {"threads": 0}, {"threads": True}, {"threads": 2.0}, {"threads": "2"}, {"threads": 10**400},
        {"max_batch": 0}, {"max_batch": 100_000}, {"queue_limit": -1},
        {"max_wait_ms": -1}, {"max_wait_ms": float("nan")}, {"max_wait_ms": 10**400},
        {"memory_limit_bytes": 17}, {"predict_timeout_s": 0}, {"predict_timeout_s": float("inf")},
        {"graph_inputs": "image"}, {"graph_inputs": [1]}, {"graph_inputs": [""]}, {"graph_outputs": {"a": 1}},
        {"graph_outputs": ["a", "a"]}, {"graph_outputs": ["a"] * 100}, {"graph_outputs": ["a" * 501]},
        {"graph_outputs": [["a"]]},
        {"predict_timeout_s": False}, {"threads": {}}, {"\ud800": 1},
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(value: Any) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_options(value)

    assert list(caught.value.fields) == ["options"]
    assert caught.value.message.endswith(".")
    caught.value.message.encode()


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValidationFailed, match=r"no key “treads”.*threads, max_batch"):
        parse_options({"treads": 2})
