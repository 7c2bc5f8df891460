"""Nested lists become arrays in the dtype of an input, or a sentence says why not."""

from __future__ import annotations

import numpy as np
import pytest

from inference.errors import BadInput, TooLarge
from inference.signature import Signature, TensorSpec, with_vocabularies
from inference.tensors import check_width, conform, from_instances, from_lists


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


@pytest.mark.parametrize(
    ("dtype", "plain", "named"),
    [("float32", [1, 2, 3], {"x": [1, 2, 3]}), ("float32", 1, {"x": 1}), ("string", ["a"], {"x": ["a"]}),
     ("string", {"b64": "YQ=="}, {"x": "a"})],
)  # fmt: skip
def test_plain_examples_beside_named_ones_are_told_so_in_either_order(dtype: str, plain: object, named: object) -> None:
    signature = Signature((TensorSpec("x", dtype, (None, None)),), ())

    for instances in ([plain, named], [named, plain]):
        with pytest.raises(BadInput, match=r"^Each example names exactly these inputs: x\.$"):
            from_instances(instances, signature)


@pytest.mark.parametrize(("word", "wrong"), [(500, "500"), (-1, "-1"), (123456, "123,456")])
def test_a_number_beyond_the_vocabulary_is_refused_by_its_name(word: int, wrong: str) -> None:
    known = Signature((TensorSpec("words", "int32", (None, 2), below=500),), ())
    of_another_engine = Signature((TensorSpec("words", "int32", (None, 2)),), ())

    with pytest.raises(BadInput, match=f"^The input words takes numbers from 0 to 499; the request holds {wrong}.$"):
        conform({"words": np.array([[3, word]], np.int32)}, with_vocabularies(of_another_engine, known))


@pytest.mark.parametrize(
    ("word", "wrong"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (500.5, "500.5"), (-0.5, "-0.5")]
)
def test_a_number_beyond_the_vocabulary_is_refused_where_it_takes_floats(word: float, wrong: str) -> None:
    known = Signature((TensorSpec("words", "float32", (None, 2), below=500),), ())

    for row in ([3, word], [word, 3]):
        with pytest.raises(BadInput, match=f"^The input words takes .* 0 to 499; the request holds {wrong}.$"):
            conform({"words": np.array([row], np.float32)}, known)


@pytest.mark.parametrize("have", [(2**31 - 1, 0, 300), (1, 2**31 - 1, 0, 300), (10_001, 0, 300), (101, 100, 0, 300)])
def test_a_tensor_without_values_has_no_more_rows_than_anybody_needs(have: tuple[int, ...]) -> None:
    given, shape = {"ids": np.empty(have, np.int32)}, (*(None for _ in have[:-1]), 300)

    with pytest.raises(TooLarge, match=r"^The input ids holds no values but [\d,]+ rows; at most 10,000 such rows"):
        conform(given, Signature((TensorSpec("ids", "int32", shape),), ()))


@pytest.mark.parametrize(("shape", "have"), [((None, None), (10_000, 0)), ((None, None, 300), (64, 0, 300))])
def test_an_empty_tensor_of_some_rows_is_taken(shape: tuple[int | None, ...], have: tuple[int, ...]) -> None:
    given = {"ids": np.empty(have, np.int32)}

    assert conform(given, Signature((TensorSpec("ids", "int32", shape),), ()))["ids"] is given["ids"]


@pytest.mark.parametrize(
    ("dtype", "number", "wrong"),
    [("int64", 2**33 + 5, "8,589,934,597"), ("int64", -(2**31) - 1, "-2,147,483,649"),
     ("uint32", 2**31, "2,147,483,648"), ("uint64", 2**64 - 1, "18,446,744,073,709,551,615")],
)  # fmt: skip
def test_a_number_beyond_32_bits_is_refused_for_an_engine_that_computes_in_them(
    dtype: str, number: int, wrong: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        check_width({"x": np.zeros((1, 2), np.float32), "ids": np.array([[3, number]], dtype)})

    assert refusal.value.message == (
        "In OpenVINO, which computes whole numbers in 32 bits, the input ids takes -2,147,483,648 to 2,147,483,647; "
        f"the request holds {wrong}. Choose another engine for such numbers."
    )


def test_the_ends_of_32_bits_are_taken() -> None:
    check_width({"ids": np.array([-(2**31), 2**31 - 1], np.int64), "none": np.zeros((1, 0), np.int64)})
    check_width({"ids": np.array([0, 2**31 - 1], np.uint64), "times": np.array([1e300])})


def test_the_ends_of_a_vocabulary_are_taken() -> None:
    known = Signature((TensorSpec("words", "float32", (None, 2), below=500),), ())
    given = {"words": np.array([[0, 499]], np.float32)}

    assert conform(given, known)["words"] is given["words"]
    assert Signature.from_json(known.as_json()) == known
