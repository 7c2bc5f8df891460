"""Engines that call a tensor otherwise than the reference did: one can be told, several cannot."""

from __future__ import annotations

import pytest

from inference.engines import ModelUnusable, other_names
from inference.signature import Signature, TensorSpec


def _signature(inputs: list[str], outputs: list[str]) -> Signature:
    return Signature(
        tuple(TensorSpec(name, "float32", (None, 3)) for name in inputs),
        tuple(TensorSpec(name, "float32", (None, 2)) for name in outputs),
    )


def test_the_same_names_in_another_order_need_nothing() -> None:
    assert other_names(_signature(["x"], ["b", "a"]), _signature(["x"], ["a", "b"])) == {}


def test_one_input_and_one_output_called_otherwise_are_told() -> None:
    have, wanted = _signature(["input:0"], ["out", "a"]), _signature(["input"], ["a", "scores"])

    assert other_names(have, wanted) == {"input:0": "input", "out": "scores"}


def test_several_that_differ_in_their_output_numbers_only_are_told() -> None:
    have, wanted = _signature(["x"], ["b", "c", "a"]), _signature(["x:0"], ["a:0", "b:0", "c"])

    assert other_names(have, wanted) == {"x": "x:0", "b": "b:0", "a": "a:0"}


@pytest.mark.parametrize("outputs", [["c", "d"], ["a"], ["a", "b", "c"]], ids=["two", "fewer", "more"])
def test_several_that_cannot_be_told_apart_are_refused(outputs: list[str]) -> None:
    with pytest.raises(ModelUnusable, match="Choose the engine that made the file"):
        other_names(_signature(["x"], outputs), _signature(["x"], ["a", "b"]))


def test_several_are_told_by_their_order_where_it_is_the_same() -> None:
    have, wanted = _signature(["x"], ["area", "verdict"]), _signature(["x"], ["dense", "dense_1"])

    assert other_names(have, wanted, has_same_order=True) == {"area": "dense", "verdict": "dense_1"}


def test_several_of_other_kinds_are_refused_in_any_order() -> None:
    have = Signature(_signature(["x"], []).inputs, tuple(TensorSpec(name, "int64", (None, 2)) for name in ("c", "d")))

    with pytest.raises(ModelUnusable, match="Choose the engine that made the file"):
        other_names(have, _signature(["x"], ["a", "b"]), has_same_order=True)
