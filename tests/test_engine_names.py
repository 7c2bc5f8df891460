"""Engines that call a tensor otherwise than the reference did: one can be told, several cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.engines import ModelUnusable, RenamedEngine, other_names
from inference.signature import Signature, TensorSpec


def _specs(*names: str, dtype: str = "float32") -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, dtype, (None, 2)) for name in names)


def test_the_same_names_in_another_order_need_nothing() -> None:
    assert other_names(_specs("b", "a"), _specs("a", "b")) == {}


def test_one_that_is_called_otherwise_is_told() -> None:
    assert other_names(_specs("out", "a"), _specs("a", "scores")) == {"out": "scores"}


def test_several_that_differ_in_their_output_numbers_only_are_told() -> None:
    have, wanted = _specs("b", "c", "a"), _specs("a:0", "b:0", "c")

    assert other_names(have, wanted) == {"b": "b:0", "a": "a:0"}


@pytest.mark.parametrize("names", [["c", "d"], ["a"], ["a", "b", "c"]], ids=["two", "fewer", "more"])
def test_several_that_cannot_be_told_apart_are_refused(names: list[str]) -> None:
    with pytest.raises(ModelUnusable, match="Choose the engine that made the file"):
        other_names(_specs(*names), _specs("a", "b"))


def test_several_are_told_by_their_order_where_it_is_the_same() -> None:
    have, wanted = _specs("area", "verdict"), _specs("dense", "dense_1")

    assert other_names(have, wanted, has_same_order=True) == {"area": "dense", "verdict": "dense_1"}


def test_several_of_other_kinds_are_refused_in_any_order() -> None:
    with pytest.raises(ModelUnusable, match="Choose the engine that made the file"):
        other_names(_specs("c", "d", dtype="int64"), _specs("a", "b"), has_same_order=True)


def test_an_input_and_an_output_may_have_one_name_in_the_file_and_in_the_original() -> None:
    class Doubler:
        signature = Signature(_specs("a"), _specs("a"))
        device, parallel, callers, may_loop = "cpu", 1, 1, False

        def run(self, inputs: Any) -> Any:
            return {"a": inputs["a"] * 2}

    renamed = RenamedEngine(Doubler(), {"a": "x"}, {"a": "x"})
    only_output = RenamedEngine(Doubler(), {}, {"a": "y"})
    given = np.ones((1, 2), np.float32)

    assert renamed.run({"x": given})["x"].tolist() == [[2.0, 2.0]]
    assert only_output.run({"a": given})["y"].tolist() == [[2.0, 2.0]]
    assert [spec.name for side in (only_output.signature.inputs, only_output.signature.outputs) for spec in side] == [
        "a",
        "y",
    ]
