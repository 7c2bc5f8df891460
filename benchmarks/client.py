"""An ordinary keep-alive client of the standard library. Its own time is included, as a client would see it."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from types import TracebackType

from benchmarks.row import Bench
from tests.running_portal import ROOT

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ANSWER_LIMIT_S = 30.0
_BOUNDARY = "a-line-that-no-picture-holds"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request; times in milliseconds. `beyond_ms` is the wall time less the engine's own."""

    is_right: bool
    wall_ms: float
    beyond_ms: float


class Client:
    """Sends the sample's pictures to one model, over one connection."""

    def __init__(self, bench: Bench) -> None:
        self._portal = bench.portal
        self._path = f"/api/models/{bench.first}/predict/?top=1"
        token = bench.portal.client("predict").headers["Authorization"]
        self._headers = {
            "Authorization": str(token),
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        }
        self._bodies = [_form(name) for name in DIGITS]
        self._connection = self._connect()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def ask(self, number: int) -> Answer:
        """Send the picture of `number` modulo 10. A failed request counts as a wrong answer."""
        began = time.perf_counter()
        try:
            self._connection.request("POST", self._path, self._bodies[number % 10], self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = self._connect()
            return Answer(False, 0.0, 0.0)
        wall_ms = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            return Answer(False, wall_ms, wall_ms)
        said = json.loads(body)
        label = said["predictions"][0]["top"][0]["label"]
        return Answer(label == str(number % 10), wall_ms, wall_ms - said["timing_ms"]["inference"])

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._portal.port, timeout=ANSWER_LIMIT_S)


def _form(name: str) -> bytes:
    picture = (ROOT / "samples" / "images" / f"{name}.png").read_bytes()
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
