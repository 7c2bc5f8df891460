"""Many keep-alive clients in one thread, which polls all connections: each client sends the next request as soon as it
is answered.

Requests are built before the clock starts, and answers are checked after it has stopped, so that a request costs about
0.03 ms of processor time.
"""

from __future__ import annotations

import heapq
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

OK, BROKEN = 200, 0
GIVE_UP_AFTER_S = 15.0
"""After the end of the window: requests not answered by then count as broken."""
PAUSE_S = 0.05
"""A client that is refused with 429 waits this long before its next request."""
_LENGTH = re.compile(rb"[Cc]ontent-[Ll]ength: *(\d+)")
_CLOSES = re.compile(rb"[Cc]onnection: *close")
_SOCKET_BYTES = 2**20
_RECEIVED_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, known by its place in the list: the status (BROKEN: the connection broke), the response's body,
    seconds, and the time when it ended."""

    number: int
    status: int
    body: bytes
    seconds: float
    ended_at: float


@dataclass(slots=True)
class _Client:
    """One connection and its current request."""

    socket: socket.socket
    number: int = 0
    began: float = 0.0
    unsent: memoryview | None = None
    received: bytes = b""
    whole_bytes: int = 0
    body_at: int = 0
    closes: bool = False


class HttpLoad:
    """Sends these complete requests in turn. `asked`: those that ended after the warm-up, also after `until_s`;
    `cpu_s`: this thread's processor time in the window."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = requests
        self._next = 0
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._resting: list[tuple[float, int]] = []
        self.from_s = self.until_s = 0.0
        self.asked: list[Asked] = []
        self.warmed_up = 0
        self.cpu_s = 0.0

    def run(self, clients: int, seconds: float, warm_up_s: float = 0.0) -> list[Asked]:
        """All clients connect first, so that only answers are measured."""
        connected = [self._connect() for _ in range(clients)]
        self.from_s = time.perf_counter() + warm_up_s
        self.until_s = self.from_s + seconds
        for client in connected:
            self._ask(client)
        began_cpu_s = None
        while (now := time.perf_counter()) < self.until_s:
            if began_cpu_s is None and now >= self.from_s:
                began_cpu_s = time.thread_time()
            self._turn(self._wake_rested(now) - now)
        self.cpu_s = time.thread_time() - (began_cpu_s or 0.0)
        self._wait_for_the_last()
        return self.asked

    def _wake_rested(self, now: float) -> float:
        """Let refused clients send again after their pause; returns when to look next."""
        while self._resting and self._resting[0][0] <= now:
            _, number = heapq.heappop(self._resting)
            self._ask(self._clients[number])
        next_at = self._resting[0][0] if self._resting else now + 0.05
        return min(self.until_s, next_at, now + 0.05)

    def _wait_for_the_last(self) -> None:
        """Requests not answered in time count as broken."""
        for _, number in self._resting:
            self._leave(self._clients[number])
        deadline = self.until_s + GIVE_UP_AFTER_S
        while self._clients and (left := deadline - time.perf_counter()) > 0:
            self._turn(left)
        for client in list(self._clients.values()):
            self._note(client, BROKEN, b"")
            self._leave(client)

    def _turn(self, timeout_s: float) -> None:
        for number, _ in self._poll.poll(max(0.0, timeout_s)):
            self._serve(self._clients[number])

    def _connect(self) -> _Client:
        connection = socket.create_connection(self._address, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        connection.setblocking(False)
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return client

    def _ask(self, client: _Client) -> None:
        client.number = self._next
        self._next = (self._next + 1) % len(self._requests)
        client.whole_bytes = 0
        client.began = time.perf_counter()
        self._send(client, memoryview(self._requests[client.number]))

    def _send(self, client: _Client, rest: memoryview) -> None:
        try:
            sent = client.socket.send(rest)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(rest)  # reading will show that the connection broke
        had_rest, client.unsent = client.unsent is not None, rest[sent:] if sent < len(rest) else None
        if had_rest or client.unsent is not None:
            wanted = select.EPOLLIN | (select.EPOLLOUT if client.unsent is not None else 0)
            self._poll.modify(client.socket.fileno(), wanted)

    def _serve(self, client: _Client) -> None:
        try:
            if client.unsent is not None:
                self._send(client, client.unsent)
            data = client.socket.recv(_RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._note(client, BROKEN, b"")
            self._leave(client)
            self._ask_anew()
            return
        client.received = client.received + data if client.received else data
        if not client.whole_bytes:
            self._read_head(client)
        if client.whole_bytes and len(client.received) >= client.whole_bytes:
            self._take(client)

    def _read_head(self, client: _Client) -> None:
        end = client.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(client.received, 0, end + 2)
        client.body_at = end + 4
        client.whole_bytes = client.body_at + (int(length[1]) if length else 0)
        client.closes = _CLOSES.search(client.received, 0, end + 2) is not None

    def _take(self, client: _Client) -> None:
        status = int(client.received[9:12])
        self._note(client, status, client.received[client.body_at :])
        client.received = b""
        now = time.perf_counter()
        if client.closes or now >= self.until_s:
            self._leave(client)
            self._ask_anew()
        elif status == 429:
            heapq.heappush(self._resting, (now + PAUSE_S, client.socket.fileno()))
        else:
            self._ask(client)

    def _note(self, client: _Client, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if now >= self.from_s:
            self.asked.append(Asked(client.number, status, body, now - client.began, now))
        else:
            self.warmed_up += 1

    def _ask_anew(self) -> None:
        """On a fresh connection, while the window lasts."""
        if time.perf_counter() < self.until_s:
            self._ask(self._connect())

    def _leave(self, client: _Client) -> None:
        number = client.socket.fileno()
        self._poll.unregister(number)
        del self._clients[number]
        client.socket.close()
