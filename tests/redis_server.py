"""A Redis server of the tests' own, where its program is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.running_portal import wait_for


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """REDIS_URL of an empty server on a socket in this folder. It keeps nothing."""
    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(socket.exists, 20, "Redis listens")
        assert redis.from_url(f"unix://{socket}").ping()
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(20)
