"""The contestants: servers that are asked over HTTP, and the in-process loop that is not."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.contest.answers import is_right
from benchmarks.contest.processes import cpu_seconds
from benchmarks.contest.window import Window
from tests.running_portal import ROOT

START_LIMIT_S = 120.0
ANSWER_LIMIT_S = 30.0
WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Post:
    """The requests to send, with one body for each right answer, and the form of the answers (see answers.py)."""

    path: str
    bodies: Sequence[bytes]
    right: Sequence[Sequence[Sequence[float]]]
    form: str
    headers: Sequence[tuple[str, str]] = ()

    def request(self, number: int, port: int) -> bytes:
        """The whole HTTP request."""
        body = self.bodies[number]
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs on a port; `pid` started all of its processes."""

    name: str
    port: int
    post: Post
    pid: int

    def measure(self, clients: int, seconds: float) -> Window:
        requests = [self.post.request(number, self.port) for number in range(len(self.post.bodies))]
        order = {
            "port": self.port,
            "clients": clients,
            "seconds": seconds,
            "warm_up_s": WARM_UP_S,
            "form": self.post.form,
            "requests": [base64.b64encode(request).decode() for request in requests],
            "right": self.post.right,
        }
        before_s = cpu_seconds(self.pid)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.contest.clients"],
            cwd=ROOT,
            input=json.dumps(order),
            stdout=subprocess.PIPE,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
        return replace(Window(**json.loads(done.stdout)), server_cpu_s=cpu_seconds(self.pid) - before_s)

    def await_right_answers(self, process: subprocess.Popen[str] | None = None) -> None:
        """Wait until each request is answered rightly once. Raises AssertionError with the answer that came instead."""
        deadline = time.monotonic() + START_LIMIT_S
        for number, right in enumerate(self.post.right):
            while not is_right(said := self._ask(number), self.post.form, right):
                assert process is None or process.poll() is None, f"{self.name} ended with {process.returncode}"
                assert time.monotonic() < deadline, f"{self.name} answers {said[:300]!r} instead of {right}"
                time.sleep(0.1)

    def _ask(self, number: int) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), ANSWER_LIMIT_S) as connection:
                connection.sendall(self.post.request(number, self.port))
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                return answer.read()
        except (OSError, http.client.HTTPException) as error:
            return repr(error).encode()


@dataclass(frozen=True, slots=True)
class Loop:
    """The limit for all servers; its process takes its orders as lines (benchmarks/rivals/in_process.py)."""

    name: str
    process: subprocess.Popen[str]

    def await_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", f"{self.name} did not start"

    def measure(self, clients: int, seconds: float) -> Window:
        self._order(clients, WARM_UP_S)
        return self._order(clients, seconds)

    def _order(self, clients: int, seconds: float) -> Window:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"clients": clients, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        return Window(**json.loads(self.process.stdout.readline()))


def multipart(picture: bytes) -> tuple[str, bytes]:
    """Content type and body of a form with one picture."""
    boundary = "a-line-that-no-picture-holds"
    form = io.BytesIO()
    form.write(f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'.encode())
    form.write(b"Content-Type: image/jpeg\r\n\r\n" + picture + f"\r\n--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", form.getvalue()
