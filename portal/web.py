"""One process of the web server: uvicorn on a socket that `serve` holds, with timeouts for clients that do not complete
a request or do not read the response.

uvicorn limits neither the time nor the size of a request's head, nor the number of pipelined requests, and keeps what a
client does not read for ever. It leaves that to a reverse proxy, which the portal does not require. Bodies have limits
of their own: portal/lean/pace.py.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import socket
import sys
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType
from typing import Any

import httptools
import orjson
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from models_app.services.waiting import end_waits

HEAD_LIMIT_S = 30.0
"""How long a connection may go without a complete head: when new, between requests, or in the middle of a head."""
UNREAD_LIMIT_S = 60.0
"""How long a client may read nothing of the response data buffered for it here; like nginx's send_timeout."""
HALF_CLOSED_LIMIT_S = 0.25
"""How long a response may take to begin once its client sends no more; the lean path sees no sooner that it left."""
HEAD_LIMIT_BYTES = 64 * 1024
"""Of a head, and of what stands between two parts of a body or behind the last (trailers). Checked after each piece, so
there may be more by the size of a piece."""
PIECE_BYTES = 2048
"""How much is parsed at a time: a hundred requests at most. What follows waits as bytes until they are answered. A body
of known length is parsed as far as it is there, because each piece costs 2 µs."""
MOST_CONNECTIONS = 2048
_LOOK_EVERY_TICKS = 10
_FRAMING = (b"content-length", b"transfer-encoding")
_ALLOW = "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class HttpConnection(HttpToolsProtocol):
    """One client. At any moment it either has a request in progress, or the time limit for its next head runs. Another
    limit is for data that it has not read."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rests_since = self._unread_since = self.loop.time()
        self._unread_bytes = 0
        self._head_bytes = self._body_left = 0
        self._is_in_head = False
        self.url = b""
        self._offers_upgrade = self._is_told_again = False
        self._data: bytes | memoryview = b""
        self._again: bytes | memoryview = b""
        self._waiting: bytes | memoryview = b""
        self._running: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _Flow(transport, lambda: len(self._waiting) > 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request that its client has left: uvicorn tells only the newest of pipelined requests."""
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def end_if_late(self) -> None:
        """Close the connection where no complete head came in time; abort it where the client reads nothing."""
        now = self.loop.time()
        unread_bytes = self.transport.get_write_buffer_size()
        if unread_bytes == 0 or unread_bytes != self._unread_bytes:
            self._unread_bytes, self._unread_since = unread_bytes, now
        if now - self._unread_since > UNREAD_LIMIT_S:
            self.transport.abort()  # close() would wait for the client to read
        elif now - self._rests_since > HEAD_LIMIT_S and not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._waiting = memoryview(bytes(self._waiting) + data if self._waiting else data)
        self._parse()
        if self._waiting:
            self.flow.pause_reading()

    def _parse(self) -> None:
        """Parse what was read, piece by piece, until a request has to wait for the response to the one before it."""
        while self._waiting and not self.pipeline and not self.transport.is_closing():
            size = max(PIECE_BYTES, self._body_left)
            self._again, self._waiting = self._waiting[:size], self._waiting[size:]
            self._head_bytes += len(self._again)
            while self._again:
                self._data, self._again = self._again, b""
                super().data_received(self._data)  # type: ignore[arg-type]
            if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
                sentence = f"The head of a request may have {HEAD_LIMIT_BYTES:,} bytes."
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", sentence)
        self._data = b""  # an idle connection holds nothing of what it read
        self._waiting = self._waiting or b""

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn calls this for a request that offers another protocol (Java's client: HTTP/2); its parser takes what
        follows for that protocol. The offer is ignored (RFC 9110, 7.8): the parser gets the length again, then the
        body."""
        upgrade = sys.exc_info()[1]
        assert isinstance(upgrade, httptools.HttpParserUpgrade)
        framing = [b"%s: %s" % header for header in self.headers if header[0] in _FRAMING]
        self._again = b"\r\n".join([b"POST / HTTP/1.1", *framing, b"", self._data[upgrade.args[0] :]])
        self._is_told_again = True

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection is kept. A client that sends no more may wait for its response (`nc -N`) or be gone;
        nothing tells the two apart. So a response that begins soon is sent, else the connection is closed."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        self.loop.call_later(HALF_CLOSED_LIMIT_S, self._end_unless_answered)
        return True

    def _end_unless_answered(self) -> None:
        if not self.cycle.response_started:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this for data that the parser rejects."""
        if isinstance(sys.exc_info()[1], httptools.HttpParserInvalidMethodError):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "This is no method of HTTP.", _ALLOW)
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "validation_error", "This is no request in HTTP/1.1.")

    def _refuse(self, status: HTTPStatus, code: str, sentence: str, *headers: str) -> None:
        """Answer what never becomes a request, in the form of its address as far as that was read, and end the
        connection."""
        is_protocol = self.url.startswith((b"/v1/", b"/v2/"))
        body = orjson.dumps({"error": sentence} if is_protocol else {"code": code, "detail": sentence})
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *headers,
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        if not self._is_told_again:
            self._is_in_head, self._head_bytes = True, 0
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_told_again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the head. The parser also calls this for what follows a body in chunks, which must not count as headers
        (RFC 9110, 6.5.1): a proxy may pass on an X-Forwarded-For there that its client made up."""
        if self._is_in_head:
            super().on_header(name, value.strip(b" \t"))  # RFC 9110, 5.5; the parser keeps trailing whitespace

    def on_headers_complete(self) -> None:
        if self._is_told_again:
            self._is_told_again = self._offers_upgrade = False
            return
        self._is_in_head, self._rests_since = False, math.inf
        hosts = self._body_left = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                self._body_left = int(value)  # the parser has checked it, and refuses a second one
        if hosts > 1:
            raise httptools.HttpParserError("more than one Host")  # RFC 9112, 3.2
        self._offers_upgrade = self.parser.should_upgrade()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._offers_upgrade:  # else the parser has only stopped before the body
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        self._parse()
        self.flow.resume_reading()
        if self.cycle.response_complete:  # else a pipelined request has already begun
            self._rests_since = self.loop.time()


class _Flow(FlowControl):
    """Does not resume reading while bytes wait to be parsed: each request that is answered, or whose body is asked for,
    would read in more than it consumes."""

    def __init__(self, transport: Any, is_any_waiting: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_any_waiting = is_any_waiting

    def resume_reading(self) -> None:
        if not self._is_any_waiting():
            super().resume_reading()


class WebServer(uvicorn.Server):
    """Checks the timeouts of all connections once a second: a timer for each would cost more. When it is asked to stop,
    requests that wait for a load or an unload are answered with how far it is."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end_waits()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if counter % _LOOK_EVERY_TICKS == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpConnection):
                    connection.end_if_late()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. `serve` bound these sockets for itself alone; connections that an earlier run closed a moment ago
        (TIME_WAIT) would forbid to listen on such a one."""
        for listener in sockets or ():
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await super().startup(sockets)


def answer_requests(listener: socket.socket, grace_s: int) -> None:
    """Serve until SIGTERM; requests in progress then have `grace_s` seconds. Listens once it can answer."""
    _allow_files(2 * MOST_CONNECTIONS)
    with contextlib.suppress(OSError):  # waking up does not preempt a model: docs/adr/0012
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # A thread that renders a page may keep the GIL from the event loop, and its predictions, for this long.
    sys.setswitchinterval(0.0005)
    config = uvicorn.Config(
        "portal.asgi:application",
        http=HttpConnection,
        loop="uvloop",
        ws="none",
        lifespan="on",
        backlog=MOST_CONNECTIONS,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=int(HEAD_LIMIT_S),
        timeout_graceful_shutdown=grace_s,
        proxy_headers=False,  # the client is the peer: anybody can write a header
        server_header=False,
        access_log=False,
        log_config=None,
    )
    WebServer(config).run(sockets=[listener])


def _allow_files(count: int) -> None:
    """Raise the limit of open files, as far as this user may: each connection takes one, and so does the database."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        count = min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
