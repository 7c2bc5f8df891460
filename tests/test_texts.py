"""Tensors of texts: packed and unpacked, out of JSON, over the runner's socket."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference import tensors, texts, wire
from inference.errors import BadInput, TooLarge
from inference.signature import Signature, TensorSpec

WORDS = TensorSpec("words", "string", (None, 2))
ONE = Signature((WORDS,), ())


def objects(*rows: list[bytes]) -> np.ndarray:
    array = np.empty((len(rows), len(rows[0])), object)
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            array[i, j] = text
    return array


def test_texts_of_any_length_and_content_come_back() -> None:
    given = objects([b"", b"ends in zeros\0\0"], ["café".encode(), b"\xff\xfe no UTF-8"])

    packed = texts.pack(given.flat)

    assert packed[:4] == b"\0\0\0\0" and packed[4:8] == (15).to_bytes(4, "little")
    assert texts.unpack(memoryview(packed), (2, 2)).tolist() == given.tolist()


@pytest.mark.parametrize("text", ["aGVsbG8=", "aGVsbG8", "aGVs\r\nbG8=\n", " aGVs bG8"])
def test_base64_may_come_in_lines_and_without_padding(text: str) -> None:
    assert texts.from_base64(text) == b"hello"


@pytest.mark.parametrize("text", ["aGVsbG8==!", "aGVsb", "_-8=", "aGVs=bG8", "ä", "aGVsbG8==", "aGVs=", "="])
def test_what_is_no_standard_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        texts.from_base64(text)


@pytest.mark.parametrize(
    ("packed", "shape", "said"),
    [
        (b"\1\0\0", (1,), "ends within the length"),
        (b"\5\0\0\0abc", (1,), "longer than what is left"),
        (b"\1\0\0\0a", (2,), "holds 1 texts, its shape says 2"),
        (b"\1\0\0\0a\1\0\0\0b", (), "holds more than 1 texts"),
        (b"", (texts.MOST_TEXTS + 1,), "more than 100,000"),
    ],
)
def test_damaged_ones_say_what_is_wrong(packed: bytes, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(texts.Damaged, match=said):
        texts.unpack(memoryview(packed), shape)


def test_a_request_holds_texts_and_bytes() -> None:
    array = tensors.from_lists([["café", {"b64": "/w=="}]], WORDS)

    assert (array.shape, array.tolist()) == ((1, 2), [["café".encode(), b"\xff"]])
    assert tensors.conform({"words": array}, ONE)["words"] is array
    assert tensors.from_instances([["a", "b"]], ONE)["words"].tolist() == [[b"a", b"b"]]
    assert tensors.from_instances([{"words": ["a", "b"]}], ONE)["words"].tolist() == [[b"a", b"b"]]
    single = Signature((TensorSpec("word", "string", (None,)),), ())
    assert tensors.from_instances([{"b64": "YQ=="}, "b"], single)["word"].tolist() == [b"a", b"b"]
    assert tensors.from_columns([{"b64": "YQ=="}], single)["word"].tolist() == [b"a"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([["a", 1]], "takes texts"),
        ([["a", None]], "takes texts"),
        ([["a", {"b64": "no base64!"}]], "takes texts"),
        ([["a", {"b64": 7}]], "takes texts"),
        ([["a", {"text": "b"}]], "takes texts"),
        ([["a", "half a pair \ud800"]], "takes texts"),
        ([["a", "b"], ["c"]], "different lengths"),
        ([["a", ["b"]]], "different lengths"),
    ],
)
def test_what_is_no_text_is_named(value: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        tensors.from_lists(value, WORDS)


def test_more_texts_than_anybody_reads_are_refused() -> None:
    with pytest.raises(TooLarge, match="at most 100,000 texts"):
        tensors.from_lists([["a", "b"]] * 50_001, WORDS)


def test_one_long_text_among_short_ones_takes_its_own_room_only() -> None:
    array = tensors.from_lists([["a", "b"]] * 40_000 + [["x" * 10**6, "y"]], WORDS)

    described, buffers = wire.describe_tensors({"words": array})

    assert described == [{"name": "words", "dtype": "string", "shape": [40_001, 2], "bytes": len(buffers[0])}]
    assert len(buffers[0]) < 2 * 10**6
    assert wire.read_tensors(described, memoryview(buffers[0]))["words"].tolist() == array.tolist()


def test_more_than_a_frame_carries_is_refused_before_it_is_sent() -> None:
    """Whoever reads it would drop the connection, and fail all others who share it."""
    whole = np.zeros(2**28 + 1, np.float32)  # a GiB that is never touched

    with pytest.raises(wire.WireError, match="at most 1,073,741,824 are sent"):
        wire.describe_tensors({"large": whole})


def test_a_runner_that_says_nonsense_about_texts_is_not_believed() -> None:
    described = [{"name": "words", "dtype": "string", "shape": [2, 1], "bytes": 5}]

    with pytest.raises(wire.WireError):
        wire.read_tensors(described, memoryview(b"\1\0\0\0a"))
    with pytest.raises(wire.WireError, match="at most 100,000"):
        wire.describe_tensors({"words": texts.filled([texts.MOST_TEXTS + 1], b"")})
