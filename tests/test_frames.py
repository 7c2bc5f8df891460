"""The runner's end of a connection: frames in pieces, large ones, and what is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from inference import wire
from inference.runner.frames import FrameConnection

Frames = list[tuple[dict[str, Any], bytes]]


async def _read(reader: asyncio.StreamReader, count: int) -> list[wire.Frame]:
    """So many frames, or as many as come before the end."""
    decoder, frames = wire.Decoder(), []
    while len(frames) < count and (data := await reader.read(2**16)):
        frames += decoder.feed(data)
    return frames


def exchange(write: Callable[[asyncio.StreamWriter], Any], count: int) -> tuple[Frames, list[wire.Frame]]:
    """What a connection made of the bytes written, and what came back: it sends each frame again."""

    async def run() -> tuple[Frames, list[wire.Frame]]:
        ours, theirs = socket.socketpair()
        seen: Frames = []

        def on_frame(connection: FrameConnection, header: dict[str, Any], body: memoryview) -> None:
            seen.append((header, bytes(body)))
            connection.send(header, [body])

        def connection() -> FrameConnection:
            return FrameConnection(on_frame, lambda _: None, {"places": 5})

        await asyncio.get_running_loop().create_connection(connection, sock=ours)
        reader, writer = await asyncio.open_connection(sock=theirs, limit=2**20)
        async with asyncio.timeout(20):
            sending = asyncio.create_task(write(writer))
            greeting, *back = await _read(reader, 1 + count)
            await sending
        writer.close()
        assert greeting.header == {"places": 5}
        return seen, back

    return asyncio.run(run())


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
def test_frames_are_the_same_however_they_are_cut(step: int) -> None:
    bodies = [b"", b"x", b"y" * 3000, b"z" * 10]
    stream = b"".join(b"".join(wire.encode({"id": i}, [body])) for i, body in enumerate(bodies))

    async def write(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(stream), step):
            writer.write(stream[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)

    seen, back = exchange(write, len(bodies))

    assert seen == [({"id": i}, body) for i, body in enumerate(bodies)]
    assert [(frame.header, bytes(frame.body)) for frame in back if frame] == seen


def test_a_large_body_and_a_large_header_come_whole_and_what_follows_too() -> None:
    frames = [({"id": 1, "text": "h" * 2**20}, b"b"), ({"id": 2}, bytes(range(256)) * 2**13), ({"id": 3}, b"last")]

    async def write(writer: asyncio.StreamWriter) -> None:
        for header, body in frames:
            for part in wire.encode(header, [body]):
                writer.write(part)
        await writer.drain()

    seen, back = exchange(write, len(frames))

    assert seen == frames
    assert [bytes(frame.body) for frame in back if frame] == [body for _, body in frames]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n" + b" " * 20,
        wire.encode({})[0][:4] + b"\xff" * 12,
        bytes(wire.encode({})[0][:4]) + b"\x00\x00\x00\x02" + b"\x00" * 8 + b"[]",
        bytes(wire.encode({})[0][:4]) + b"\x00\x00\x00\x02" + b"\x00" * 8 + b"{{",
    ],
)
def test_what_is_no_frame_ends_the_connection(data: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(data))

    seen: Frames = []
    try:
        seen, back = exchange(write, 1)
        assert back == []
    except (ConnectionError, wire.WireError):
        pass
    assert seen == []
