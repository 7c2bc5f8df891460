"""Many keep-alive clients in one process: each sends the same request again as soon as it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its path, the status (0: the connection broke), seconds, and the moment of its end."""

    path: str
    status: int
    seconds: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Target:
    """Requests of one kind: `paths` are asked in turn, all with the same body."""

    port: int
    paths: Sequence[str]
    token: str
    content_type: str
    body: bytes

    def request(self, path: str) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {self.token}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def run(target: Target, clients: int, seconds: float) -> list[Asked]:
    """What all clients asked within `seconds`, in the order of the answers."""
    return asyncio.run(_run(target, clients, seconds))


async def _run(target: Target, clients: int, seconds: float) -> list[Asked]:
    """All connect first: what is measured are answers."""
    connected = [await asyncio.open_connection("127.0.0.1", target.port) for _ in range(clients)]
    until = time.perf_counter() + seconds
    asked: list[Asked] = []
    await asyncio.gather(*(_client(target, number, *pair, until, asked) for number, pair in enumerate(connected)))
    return asked


async def _client(
    target: Target,
    number: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter | None,
    until: float,
    asked: list[Asked],
) -> None:
    while time.perf_counter() < until:
        path = target.paths[number % len(target.paths)]
        number += 1
        began = time.perf_counter()
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            writer.write(target.request(path))
            status = await _status(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            status = 0
            if writer is not None:
                writer.close()
            writer = None
        now = time.perf_counter()
        asked.append(Asked(path, status, now - began, now))
        if status in (0, 429):
            await asyncio.sleep(0.05)  # a client that is refused tries again, but not in a tight loop
    if writer is not None:
        writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])
