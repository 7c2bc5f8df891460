"""One request in front of Django: its body within the limits, its answer, and whether the client is still there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django.conf import settings

from inference.errors import PortalError, TooLarge
from inference.protocols.answer import Answer
from inference.protocols.content_coding import decompress
from inference.refusal import size_words
from portal.lean.asgi import CLOSE, Receive, Scope, Send
from portal.lean.pace import Pace
from portal.logging import request_id

T = TypeVar("T")
LOOK_FOR_CLIENT_AFTER_S = 0.25
"""Only after this is it checked whether the client has left: a check costs as much as a small model's answer."""
LARGE_BYTES = 2**20
"""From this size on a body is processed in a thread, so that other requests are not kept waiting."""


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class Exchange:
    """`headers` is by lower-case name; of several with one name the last counts."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, render: Callable[[PortalError], Answer]) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.render = render
        self.has_left = False
        self._receive = receive
        self._send = send
        self._pace = Pace(receive)

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    # ---- the body

    async def body(self) -> bytes:
        """The whole body, decompressed. Raises TooLarge, RequestTimeout, ClientLeft, UnknownCoding."""
        most_bytes = int(settings.PORTAL_MAX_REQUEST_BYTES)
        length = self._content_length()
        if length is not None and length > most_bytes:
            raise _too_large(most_bytes)
        parts: list[bytes] = []
        size = 0
        while not self._pace.is_read:
            message = await self._pace.next()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most_bytes:
                raise _too_large(most_bytes)
            if size == length:
                self._pace.is_read = True  # do not wait for the last, empty message: it costs as much as the first
        if len(parts) == 1:
            body = parts[0]
        else:
            body = b"".join(parts) if size < LARGE_BYTES else await asyncio.to_thread(b"".join, parts)
        coding = self.header(b"content-encoding")
        if coding is None:
            return body
        if size < LARGE_BYTES // 16:
            return decompress(body, coding, most_bytes)
        return await asyncio.to_thread(decompress, body, coding, most_bytes)

    def _content_length(self) -> int | None:
        """The size that the client announces; None where it announces none or sends chunks."""
        length = self.headers.get(b"content-length")
        if length is None or not length.isdigit() or b"transfer-encoding" in self.headers:
            return None
        return int(length[:18])

    async def while_client_stays(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Where the client leaves first, cancels `work` and raises ClientLeft."""
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None
        watcher: asyncio.Task[None] | None = None

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self.has_left = True
            me.cancel()

        def begin() -> None:
            nonlocal watcher
            watcher = loop.create_task(watch())

        timer = loop.call_later(LOOK_FOR_CLIENT_AFTER_S, begin)
        try:
            return await work
        except asyncio.CancelledError:
            if not self.has_left:
                raise
            me.uncancel()
            raise ClientLeft from None
        finally:
            timer.cancel()
            if watcher is not None:
                watcher.cancel()

    # ---- the answer

    async def answer(self, answer: Answer) -> None:
        await self._begin(answer, *answer.headers)
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": False})

    async def refuse(self, error: PortalError, *more: tuple[bytes, bytes]) -> None:
        """Answer with an error. Where the body was not read, go on reading it for a while: see Pace."""
        answer = self.render(error)
        is_read = self._pace.is_read or self.method in {"GET", "HEAD"}
        await self._begin(answer, *answer.headers, *more, *(() if is_read else (CLOSE,)))
        if is_read:
            await self._send({"type": "http.response.body", "body": answer.body, "more_body": False})
            return
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await self._pace.linger()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, answer: Answer, *headers: tuple[bytes, bytes]) -> None:
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (b"content-type", answer.content_type),
                    (b"content-length", str(len(answer.body)).encode()),
                    (b"x-content-type-options", b"nosniff"),
                    *headers,
                ],
            }
        )


def new_request_id() -> str:
    """An id for this request in log and response, made only for unexpected errors."""
    name = secrets.token_hex(6)
    request_id.set(name)
    return name


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"A request to this address may hold at most {size_words(most_bytes)}.")
