"""Frames on the runner's socket: what was sent comes out, and what is no frame is refused before it is allocated."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from inference import wire


def _read(data: bytes) -> wire.Frame | None:
    """The first frame of a stream, None where it is not complete yet."""
    frames = wire.Decoder().feed(data)
    return frames[0] if frames else None


def test_a_frame_comes_out_as_it_went_in() -> None:
    tensors = {"x": np.arange(6, dtype="float32").reshape(2, 3), "flag": np.array([True, False])}
    described, buffers = wire.describe_tensors(tensors)

    frame = _read(b"".join(wire.encode({"id": 7, "tensors": described}, buffers)))

    assert frame is not None and frame.header["id"] == 7
    back = wire.read_tensors(frame.header["tensors"], frame.body)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MPF1",
        struct.pack("!4sIQ", b"MPF1", 10, 0) + b"{}",
        struct.pack("!4sIQ", b"MPF1", 2, 5) + b"{}xx",
    ],
    ids=["nothing", "short prefix", "short header", "short body"],
)
def test_what_has_not_come_whole_is_waited_for(data: bytes) -> None:
    assert _read(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!4sIQ", b"MPF1", 2**31, 0),
        struct.pack("!4sIQ", b"MPF1", 2, 2**60) + b"{}",
        struct.pack("!4sIQ", b"MPF1", 2, 0) + b"[]",
        struct.pack("!4sIQ", b"MPF1", 3, 0) + b"nan",
    ],
    ids=["http", "huge header", "huge body", "list", "no json"],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(wire.WireError):
        _read(data)


@pytest.mark.parametrize(
    "described",
    [
        [{"name": "x", "dtype": "float32", "shape": [3], "bytes": 8}],
        [{"name": "x", "dtype": "float32", "shape": [2], "bytes": 16}],
        [{"name": "x", "dtype": "object", "shape": [1], "bytes": 8}],
        [{"name": "x", "dtype": "float32", "shape": [2], "bytes": -8}],
        [{"name": "x", "dtype": "float32", "shape": "no", "bytes": 8}],
        [{"name": "x"}],
        [],
    ],
)
def test_tensors_that_do_not_fit_their_bytes_are_refused(described: list[dict[str, object]]) -> None:
    with pytest.raises(wire.WireError):
        wire.read_tensors(described, memoryview(bytes(8)))


def test_parts_must_add_up_to_the_body() -> None:
    assert [bytes(part) for part in wire.split_body([1, 0, 2], memoryview(b"abc"))] == [b"a", b"", b"bc"]
    with pytest.raises(wire.WireError):
        wire.split_body([1, 1], memoryview(b"abc"))
    with pytest.raises(wire.WireError):
        wire.split_body([5, -2], memoryview(b"abc"))
