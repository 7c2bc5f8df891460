"""The load generator of `make bench`: it counts what was answered, and what was answered wrongly or not at all."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.contest.contestants import Post, Served

RIGHT = [[[3, 0.5], [1, 0.25]]]
WINDOW_S = 0.3


@contextmanager
def server(status: int, answer: bytes, *, closes: bool = False) -> Iterator[int]:
    """The port of a server that gives everybody this answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if closes:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield http.server_port
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def asked(port: int) -> Served:
    return Served("a server", port, Post("/", [b"x" * 40_000], RIGHT, "plain"), os.getpid())


def test_right_answers_are_counted() -> None:
    with server(200, json.dumps({"top": RIGHT[0]}).encode()) as port:
        window = asked(port).measure(4, WINDOW_S)

    assert window.requests > 4
    assert window.failures == 0
    assert 0 < window.p50_ms <= window.p99_ms


def test_a_server_that_closes_each_connection_is_asked_again() -> None:
    with server(200, json.dumps({"top": RIGHT[0]}).encode(), closes=True) as port:
        window = asked(port).measure(4, WINDOW_S)

    assert window.requests > 4
    assert window.failures == 0


def test_wrong_scores_and_refusals_are_failures() -> None:
    for status, top in ((200, [[3, 0.6], [1, 0.25]]), (200, [[1, 0.25], [3, 0.5]]), (200, []), (503, RIGHT[0])):
        with server(status, json.dumps({"top": top}).encode()) as port:
            window = asked(port).measure(2, WINDOW_S)

        assert window.requests > 0
        assert window.failures == window.requests
        assert window.per_second == 0
