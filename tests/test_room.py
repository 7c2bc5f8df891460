"""A full queue is refused by the web itself: what the runner said of its room is enough."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from inference import wire
from inference.client import Connection
from inference.errors import Busy

QUESTION = {"kind": "tensors", "tensors": []}
SOON_S = 10.0


class Peer:
    """Listens as a runner does, greets, keeps what it was asked, and answers only when it is told to."""

    def __init__(self, greeting: dict[str, Any]) -> None:
        self._greeting = greeting
        self._writer: asyncio.StreamWriter | None = None
        self.frames: list[dict[str, Any]] = []
        self.came = asyncio.Event()

    async def listen(self, path: Path) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(wire.joined(self._greeting))
        decoder = wire.Decoder()
        while data := await reader.read(2**16):
            self.frames += [frame.header for frame in decoder.feed(data)]
            self.came.set()

    async def until_asked(self, count: int) -> None:
        async with asyncio.timeout(SOON_S):
            while sum(frame["kind"] == "tensors" for frame in self.frames) < count:
                self.came.clear()
                await self.came.wait()

    def answer(self, frame: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(wire.joined({"id": frame["id"], "tensors": []}))


def ask(connection: Connection) -> asyncio.Task[wire.Frame]:
    return asyncio.ensure_future(connection.ask(QUESTION, (), SOON_S))


def test_who_finds_no_room_is_refused_without_asking_and_is_counted(tmp_path: Path) -> None:
    async def crowd() -> None:
        peer, connection = Peer({"queue_limit": 1, "places": 2}), Connection(str(tmp_path / "socket"))
        server = await peer.listen(tmp_path / "socket")
        waiting = [ask(connection)]
        await peer.until_asked(1)
        waiting.append(ask(connection))
        await peer.until_asked(2)
        with pytest.raises(Busy, match="1 requests are waiting already"):
            await connection.ask(QUESTION, (), SOON_S)

        peer.answer(peer.frames[0])
        await waiting[0]
        again = ask(connection)
        await peer.until_asked(3)

        assert [frame["kind"] for frame in peer.frames].count("refused") == 1
        for task in (waiting[1], again):
            task.cancel()
        server.close()

    asyncio.run(crowd())


@pytest.mark.parametrize("greeting", [{"places": "many"}, {"places": None, "queue_limit": 1}, {"places": [2]}])
def test_a_greeting_that_makes_no_sense_is_passed_over(tmp_path: Path, greeting: dict[str, Any]) -> None:
    async def one() -> None:
        peer, connection = Peer(greeting), Connection(str(tmp_path / "socket"))
        server = await peer.listen(tmp_path / "socket")
        asked = ask(connection)
        await peer.until_asked(1)
        peer.answer(peer.frames[0])
        await asyncio.wait_for(asked, SOON_S)
        server.close()

    asyncio.run(one())
