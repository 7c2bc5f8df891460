"""The reports of a runner to its owner."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any


class StatusLine:
    """The runner's side of the status socket. Each report is one line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, event: str, **facts: Any) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps({"event": event, **facts}).encode() + b"\n")
