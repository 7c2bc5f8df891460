"""Types of ASGI, and sending errors in the usual form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from inference.errors import PortalError
from inference.protocols.answer import encoded
from models_app.api.errors import error_body
from portal.security import POLICY

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str | None:
    """The last header of this name, lower case, as text."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[-1].decode("latin-1") if found else None


CLOSE = (b"connection", b"close")
"""Sent where the body was not read to its end: the server may then close the connection, and a client that reused it
would lose its next request."""


async def send_error(
    send: Send, error: PortalError, *more: Header, page: str | None = None, more_body: bool = False
) -> None:
    """Answer with an error: as `page` if given, else as JSON, with `more` headers. With `more_body` the response is
    complete but not ended, and the connection closes after it."""
    body = orjson.dumps(error_body(error)) if page is None else page.encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    if page is not None:
        headers |= {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY}
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [
                *encoded(headers),
                *more,
                *([CLOSE] if more_body else []),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": more_body})
