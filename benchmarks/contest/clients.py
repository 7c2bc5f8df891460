"""The load generator: python -m benchmarks.contest.clients < ORDER, prints a Window as JSON.

A process of its own, with one thread that waits for all connections at once: each client asks again as soon as it is
answered. Requests are whole before the clock runs, and answers are judged after it stopped, so that a request costs
about 0.03 ms of processor time; what it cost is in the result.

ORDER: {"port", "clients", "seconds", "warm_up_s", "form", "requests": [whole HTTP request in base64 …], "right": […]}.
"""

from __future__ import annotations

import base64
import gc
import json
import re
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.contest.answers import is_right
from benchmarks.contest.window import Window

GIVE_UP_AFTER_S = 15.0
"""Beyond the end of the window: who has not answered by then counts as failed."""
_LENGTH = re.compile(rb"[Cc]ontent-[Ll]ength: *(\d+)")
_CLOSES = re.compile(rb"[Cc]onnection: *close")
_SOCKET_BYTES = 2**20
_RECEIVED_BYTES = 2**16


@dataclass(slots=True)
class Client:
    """One connection and the request that is on its way on it."""

    socket: socket.socket
    number: int = 0
    began: float = 0.0
    unsent: memoryview | None = None
    received: bytes = b""
    whole_bytes: int = 0
    body_at: int = 0
    closes: bool = False


class Clients:
    """Keeps answers as (number of the request, status 200 or not, body) and their times."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = requests
        self._next = 0
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self.times: list[float] = []
        self.answers: list[tuple[int, bytes]] = []
        self.broken = self.asked = 0
        self.from_s = self.until_s = 0.0

    def run(self, clients: int, warm_up_s: float, seconds: float) -> float:
        """Processor seconds that it took from the end of the warm-up on."""
        self.from_s = time.perf_counter() + warm_up_s
        self.until_s = self.from_s + seconds
        for _ in range(clients):
            self._ask(self._connect())
        cpu_s = None
        while (now := time.perf_counter()) < self.until_s:
            if cpu_s is None and now >= self.from_s:
                cpu_s = time.process_time()
            for number, _ in self._poll.poll(min(self.until_s, now + 0.05) - now):
                self._serve(self._clients[number])
        spent_s = time.process_time() - (cpu_s or 0.0)
        self._wait_for_the_last()
        return spent_s

    def _wait_for_the_last(self) -> None:
        """What is under way has no part in the figures, but a server that never answers has failed."""
        deadline = self.until_s + GIVE_UP_AFTER_S
        while self._clients and (left := deadline - time.perf_counter()) > 0:
            for number, _ in self._poll.poll(left):
                self._serve(self._clients[number])
        self.broken += len(self._clients)

    def _connect(self) -> Client:
        connection = socket.create_connection(self._address, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
        connection.setblocking(False)
        client = Client(connection)
        self._clients[connection.fileno()] = client
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return client

    def _ask(self, client: Client) -> None:
        client.number = self._next
        self._next = (self._next + 1) % len(self._requests)
        client.whole_bytes = 0
        client.began = time.perf_counter()
        self._send(client, memoryview(self._requests[client.number]))

    def _send(self, client: Client, rest: memoryview) -> None:
        try:
            sent = client.socket.send(rest)
        except BlockingIOError:
            sent = 0
        had_rest, client.unsent = client.unsent is not None, rest[sent:] if sent < len(rest) else None
        if had_rest or client.unsent is not None:
            wanted = select.EPOLLIN | (select.EPOLLOUT if client.unsent is not None else 0)
            self._poll.modify(client.socket.fileno(), wanted)

    def _serve(self, client: Client) -> None:
        try:
            if client.unsent is not None:
                self._send(client, client.unsent)
            data = client.socket.recv(_RECEIVED_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.broken += 1
            self._leave(client, asks_again=time.perf_counter() < self.until_s)
            return
        client.received = client.received + data if client.received else data
        if not client.whole_bytes:
            self._read_head(client)
        if client.whole_bytes and len(client.received) >= client.whole_bytes:
            self._take(client)

    def _read_head(self, client: Client) -> None:
        end = client.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(client.received, 0, end + 2)
        client.body_at = end + 4
        client.whole_bytes = client.body_at + (int(length[1]) if length else 0)
        client.closes = _CLOSES.search(client.received, 0, end + 2) is not None

    def _take(self, client: Client) -> None:
        now = time.perf_counter()
        self.asked += 1
        if self.from_s <= now <= self.until_s:
            self.times.append(now - client.began)
            is_good = client.received[9:12] == b"200"
            self.answers.append((client.number, client.received[client.body_at :] if is_good else b""))
        client.received = b""
        if now >= self.until_s or client.closes:
            self._leave(client, asks_again=now < self.until_s)
        else:
            self._ask(client)

    def _leave(self, client: Client, *, asks_again: bool) -> None:
        number = client.socket.fileno()
        self._poll.unregister(number)
        del self._clients[number]
        client.socket.close()
        if asks_again:
            self._ask(self._connect())


def main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    clients = Clients(order["port"], [base64.b64decode(text) for text in order["requests"]])
    gc.disable()
    cpu_s = clients.run(order["clients"], order["warm_up_s"], order["seconds"])
    gc.enable()
    wrong = sum(not is_right(body, order["form"], order["right"][number]) for number, body in clients.answers)
    times = sorted(clients.times)
    window = Window(
        requests=len(times) + clients.broken,
        seconds=order["seconds"],
        p50_ms=times[len(times) // 2] * 1000 if times else 0.0,
        p99_ms=times[int(0.99 * len(times))] * 1000 if times else 0.0,
        failures=wrong + clients.broken,
        client_cpu_s=cpu_s,
        asked=clients.asked,
    )
    print(json.dumps(asdict(window)))


if __name__ == "__main__":
    main()
