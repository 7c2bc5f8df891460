"""Connections that bring no whole request (too slow, too large, or no HTTP) or do not read; all others are kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from portal import web
from portal.web import HttpConnection, WebServer
from tests.running_portal import wait_for

LIMIT_S = 0.8
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
WAITS_S = {"/slow": 2 * LIMIT_S, "/soon": 0.02, "/large": 0.02}
SOON = b"GET /soon HTTP/1.1\r\nHost: here\r\n\r\n"
SOCKET_BYTES = 2**18
"""Of a connection; the kernel takes some times as much."""
LARGE = b"x" * 2**24
UPGRADE = b"Host: here\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
INNER = b"GET /echo HTTP/1.1\r\nHost: inner\r\n\r\n"
CHUNKED = b"POST /read HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE_REQUEST = b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n"


left: list[str] = []


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, `/slow` after twice the time that a head may take; `/large` with 16 MiB, in one piece;
    `/soon` after some milliseconds, `/echo` with the headers, `/read` with the body; `/watch` notes that its client
    has left."""
    if scope["path"] == "/watch":
        while (await receive())["type"] != "http.disconnect":
            pass
        left.append(scope["path"])
    if scope["path"] in WAITS_S:
        await asyncio.sleep(WAITS_S[scope["path"]])
    body = {"/large": LARGE, "/echo": repr(scope["headers"]).encode()}.get(scope["path"], b"hello")
    if scope["path"] == "/read":
        body = await read_body(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message.get("body", b""), message.get("more_body", False)
    return body


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WebServer, int]]:
    monkeypatch.setattr(web, "HEAD_LIMIT_S", LIMIT_S)
    monkeypatch.setattr(web, "UNREAD_LIMIT_S", LIMIT_S)
    monkeypatch.setattr(web, "_LOOK_EVERY_TICKS", 1)
    config = uvicorn.Config(
        hello, http=HttpConnection, loop="uvloop", ws="none", lifespan="off", log_config=None, timeout_keep_alive=60
    )
    server = WebServer(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        wait_for(lambda: server.started, 10, "it listens")
        yield server, listener.getsockname()[1]
        server.should_exit = server.force_exit = True
        thread.join(10)


@pytest.fixture
def port(server: tuple[WebServer, int]) -> int:
    return server[1]


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.settimeout(10)
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    said = b""
    while data := connection.recv(65536):
        said += data
    return said


def refusal(said: bytes) -> tuple[int, dict[str, str]]:
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head and b"connection: close" in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("drop", [b"", b"X-A: b\r\n", b"\r\n"], ids=["silent", "headers", "empty lines"])
@pytest.mark.parametrize("before", [b"", REQUEST], ids=["new", "after a request"])
def test_who_brings_no_whole_head_in_time_is_ended(port: int, before: bytes, drop: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(before)
        if before:
            assert b"hello" in connection.recv(65536)
        if drop.startswith(b"X"):
            connection.sendall(REQUEST[:-2])
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 10:
                connection.sendall(drop)
                if not drop:
                    connection.settimeout(10)
                    assert connection.recv(1) == b""
                    raise OSError
                time.sleep(0.1)
        took = time.monotonic() - began

    assert LIMIT_S * 0.8 < took < LIMIT_S + 3


def test_who_waits_for_an_answer_is_not_ended(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
        said = connection.recv(65536)
        connection.sendall(REQUEST)
        again = connection.recv(65536)

    assert b"hello" in said and b"hello" in again


@pytest.mark.parametrize("requests", [SOON, LARGE_REQUEST, SOON + SOON], ids=["small", "large", "two"])
def test_who_sends_no_more_gets_the_answer_and_the_end(
    port: int, monkeypatch: pytest.MonkeyPatch, requests: bytes
) -> None:
    monkeypatch.setattr(web, "HALF_CLOSED_LIMIT_S", 10.0)  # for a busy machine

    for _ in range(10):
        with connect(port) as connection:
            connection.sendall(requests)
            connection.shutdown(socket.SHUT_WR)
            said = read_to_end(connection)

        assert said.count(b"HTTP/1.1 200 OK") == requests.count(b"GET")
        assert said.endswith(LARGE if requests == LARGE_REQUEST else b"hello")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST /slow HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n",
        b"",
    ],
    ids=["slow", "half a body", "half a head", "nothing"],
)
def test_for_who_sends_no_more_no_place_is_kept(port: int, sent: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        connection.shutdown(socket.SHUT_WR)
        said = read_to_end(connection)
        took = time.monotonic() - began

    assert (said, took < 2 * LIMIT_S) == (b"", True)  # by then the slow answer is there


def test_who_does_not_read_the_answer_is_dropped_with_it(server: tuple[WebServer, int]) -> None:
    connections = server[0].server_state.connections
    with connect(server[1]) as connection:
        connection.sendall(LARGE_REQUEST)
        wait_for(lambda: any(c.transport.get_write_buffer_size() > 2**20 for c in connections), 10, "it is answered")
        began = time.monotonic()
        wait_for(lambda: not connections, 10, "the connection is gone")
        took = time.monotonic() - began

    assert LIMIT_S * 0.8 < took < LIMIT_S + 3


def test_who_reads_slowly_gets_the_whole_answer(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(LARGE_REQUEST)
        began, read = time.monotonic(), 0
        while read < len(LARGE):
            read += len(connection.recv(2**20))
            time.sleep(LIMIT_S / 6)
        took = time.monotonic() - began

    assert took > 2 * LIMIT_S


def test_white_space_around_the_value_of_a_header_is_not_part_of_it(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: here \t\r\nX-A: \t a  b \r\nX-B:  \r\n\r\n")
        said = connection.recv(65536)

    assert said.endswith(repr([(b"host", b"here"), (b"x-a", b"a  b"), (b"x-b", b"")]).encode())


def test_what_follows_a_body_in_chunks_is_no_header(port: int) -> None:
    """A client behind a proxy that passes it on could choose the address that its log-ins are counted by."""
    head = b"POST /echo HTTP/1.1\r\nHost: here\r\nX-Forwarded-For: 203.0.113.9\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(port) as connection:
        connection.sendall(head + b"1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\nHost: elsewhere\r\n\r\n" + SOON)
        connection.shutdown(socket.SHUT_WR)
        said = read_to_end(connection)

    headers = [(b"host", b"here"), (b"x-forwarded-for", b"203.0.113.9"), (b"transfer-encoding", b"chunked")]
    assert [one.partition(b"\r\n\r\n")[2] for one in said.split(b"HTTP/1.1 200 OK")[1:]] == [
        repr(headers).encode(),
        b"hello",
    ]


def test_requests_sent_without_waiting_are_answered_one_after_the_other(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n" + REQUEST + REQUEST[:-2])
        said = b""
        while said.count(b"hello") < 2:
            said += connection.recv(65536)
        connection.sendall(b"\r\n")
        while said.count(b"hello") < 3:
            said += connection.recv(65536)


def test_of_who_sends_without_waiting_for_answers_little_is_kept(port: int) -> None:
    """Each answer lets the server read on, and each request that asks for its body: more than it takes away."""
    request = REQUEST.replace(b"GET /", b"GET /read")
    ahead, sent, answered, most_kept = memoryview(b""), 0, 0, 0
    with connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        connection.setblocking(False)
        began = time.monotonic()
        while answered < 1000 and time.monotonic() - began < 60:
            with contextlib.suppress(BlockingIOError):
                while most_kept < 32 * SOCKET_BYTES:
                    ahead = ahead or memoryview(request * 1000)
                    count = connection.send(ahead)
                    ahead, sent = ahead[count:], sent + count
                    most_kept = max(most_kept, sent - answered * len(request))
            with contextlib.suppress(BlockingIOError):
                answered += connection.recv(65536).count(b"HTTP/1.1 200 OK")

    print(f"{sent:,} bytes sent, {answered} requests answered, at most {most_kept:,} bytes kept")
    assert answered >= 1000
    assert most_kept < 8 * SOCKET_BYTES


def test_of_a_thousand_requests_in_one_piece_few_are_made_ready_and_all_answered(server: tuple[WebServer, int]) -> None:
    def ready() -> int:
        return max(
            (len(c.pipeline) for c in server[0].server_state.connections if isinstance(c, HttpConnection)), default=0
        )

    with connect(server[1]) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n" + 1000 * REQUEST)
        wait_for(lambda: ready() > 0, 10, "they wait for the slow one")
        most_ready = ready()
        said = b""
        while said.count(b"hello") < 1001 and (data := connection.recv(65536)):
            said += data

    assert (said.count(b"HTTP/1.1 200 OK"), said.count(b"hello")) == (1001, 1001)
    assert most_ready < 100


def test_a_request_is_told_that_its_client_has_left_though_another_waits_behind_it(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    left.clear()
    with connect(port) as connection:
        connection.sendall(b"GET /watch HTTP/1.1\r\nHost: here\r\n\r\n" + REQUEST)
        time.sleep(0.1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by RST

    wait_for(lambda: left == ["/watch"], 10, "it is told")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("path", "keys"),
    [(b"/api/models/", {"code", "detail"}), (b"/v2/models/a", {"error"}), (b"/v1/models/a", {"error"})],
)
def test_two_hosts_are_no_request_and_the_refusal_is_in_the_form_of_the_address(
    port: int, path: bytes, keys: set[str]
) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: here\r\nHost: elsewhere\r\n\r\n")
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body).keys() == keys


def test_only_the_head_itself_counts_for_its_limit(port: int) -> None:
    """Not the body of the request before it, nor anything else that came in the same piece."""
    body = bytes(2 * web.HEAD_LIMIT_BYTES)
    with connect(port) as connection:
        connection.sendall(b"POST /read HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body + REQUEST[:-2])
        time.sleep(0.1)
        connection.sendall(b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        said = read_to_end(connection)

    assert (said.count(b"HTTP/1.1 200 OK"), said[-5:]) == (2, b"hello")


@pytest.mark.parametrize("pieces", [1, 2, 3], ids=["at once", "the body apart", "in three pieces"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["with a length", "in chunks"])
def test_who_offers_another_protocol_is_answered_in_this_one(port: int, is_chunked: bool, pieces: int) -> None:
    """As Java's client does. The body looks like a request, and another one comes right behind it."""
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(INNER)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER) if is_chunked else INNER
    head = b"POST /read HTTP/1.1\r\n" + UPGRADE + framing + b"\r\n\r\n"
    whole = head + body + SOON
    at = {1: [], 2: [len(head)], 3: [len(head) - 5, len(head) + 5]}[pieces]
    with connect(port) as connection:
        for begin, end in zip([0, *at], [*at, len(whole)], strict=True):
            connection.sendall(whole[begin:end])
            time.sleep(0.05)
        connection.shutdown(socket.SHUT_WR)
        said = read_to_end(connection)

    assert [answer.partition(b"\r\n\r\n")[2] for answer in said.split(b"HTTP/1.1 200 OK")[1:]] == [INNER, b"hello"]


def test_many_who_offer_another_protocol_in_one_piece_are_all_answered(port: int) -> None:
    count = 400
    with connect(port) as connection:
        connection.sendall(count * (b"GET / HTTP/1.1\r\n" + UPGRADE + b"\r\n"))
        said = b""
        while said.count(b"hello") < count and (data := connection.recv(65536)):
            said += data

    assert said.count(b"HTTP/1.1 200 OK") == count


@pytest.mark.parametrize(
    "begin",
    [
        REQUEST[:-2] + b"X-A: ",
        b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n" + REQUEST[:-2] + b"X-A: ",
        CHUNKED + b"1\r\na\r\n0\r\nX-A: ",
        CHUNKED + b"1\r\na\r\n1;a=",
    ],
    ids=["alone", "behind another", "behind the body", "in the body"],
)
def test_a_head_without_end_is_refused(port: int, begin: bytes) -> None:
    sent = 0
    with connect(port) as connection:
        connection.sendall(begin)
        try:
            while sent < 32 * web.HEAD_LIMIT_BYTES:
                connection.sendall(b"a" * 8192)
                sent += 8192
                time.sleep(0.01)
        except OSError:
            pass
        said = b""
        try:
            said = read_to_end(connection)
        except ConnectionResetError:
            pass  # the rest of what was sent met a closed socket

    assert web.HEAD_LIMIT_BYTES <= sent < 16 * web.HEAD_LIMIT_BYTES
    if said:
        status, error = refusal(said)
        assert (status, error["code"]) == (431, "too_large")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 405, "method_not_allowed"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "validation_error"),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "validation_error"),
        (b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n", 400, "validation_error"),
        (b"BREW / HTTP/1.1\r\nHost: here\r\n\r\n", 405, "method_not_allowed"),
    ],
    ids=["tls", "length", "two lengths", "address", "method"],
)
def test_what_is_no_http_is_refused_in_the_form_of_all_errors(port: int, sent: bytes, status: int, code: str) -> None:
    with connect(port) as connection:
        connection.sendall(sent)
        said = read_to_end(connection)

    found, error = refusal(said)
    assert (found, error["code"]) == (status, code)
    assert error["detail"].endswith(".")
