"""The web's connections to runners: one each, however many instances share the requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inference import wire
from inference.client import Connection, Runners


async def asked(folder: Path) -> list[int]:
    """How many connections each of two runners got from 50 requests that wait for nothing."""
    counts = [0, 0]

    async def accept(index: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts[index] += 1
        await reader.read()
        writer.close()

    paths = [str(folder / name) for name in ("a", "b")]
    servers = [
        await asyncio.start_unix_server(lambda r, w, index=index: accept(index, r, w), path)
        for index, path in enumerate(paths)
    ]
    runners = Runners()
    for _ in range(50):
        connection = runners.least_busy(paths)
        if not connection.is_open:
            await connection._open(1.0)
    await asyncio.sleep(0.05)
    for path in paths:
        if (transport := runners.connection(path)._transport) is not None:
            transport.abort()
    for server in servers:
        server.close()
    return counts


def test_two_instances_get_one_connection_each_at_most(tmp_path: Path) -> None:
    counts = asyncio.run(asked(tmp_path))

    assert sum(counts) in {1, 2} and max(counts) == 1, counts


async def times_told(path: Path, wait_s: float, timeout_s: float) -> list[float]:
    """How long a runner is told to try: of a request that fills its socket, and of the next one, which waits."""
    may_read, told = asyncio.Event(), list[float]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = wire.Decoder()
        await may_read.wait()
        while len(told) < 2:
            for frame in decoder.feed(await reader.read(2**20)):
                told.append(frame.header["timeout_s"])
                writer.write(wire.joined({"id": frame.header["id"]}))
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        connection = Connection(str(path))
        large = asyncio.create_task(connection.ask({"kind": "seen"}, [bytes(2**23)], timeout_s))
        while not connection.in_flight:
            await asyncio.sleep(0)
        small = asyncio.create_task(connection.ask({"kind": "seen"}, [], timeout_s))
        await asyncio.sleep(wait_s)
        may_read.set()
        await asyncio.gather(large, small)
    return told


def test_the_wait_for_room_counts_towards_the_time_of_a_request(tmp_path: Path) -> None:
    large, small = asyncio.run(times_told(tmp_path / "socket", wait_s=0.5, timeout_s=60))

    assert large <= 60
    assert small < 59.8
