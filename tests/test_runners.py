"""The web's connections to runners: one each, however many instances share the requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inference.client import Runners


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
