"""Types of ASGI, and answering in the form of all errors."""

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
"""With an answer to a body that was not read to its end: the server may end the connection, and a client that kept it
would lose its next request."""


async def send_error(
    send: Send, error: PortalError, *more: Header, page: str | None = None, more_body: bool = False
) -> None:
    """Answer with a failure: the page, if there is one, and `more` headers. With `more_body` the answer is complete,
    but the exchange is held open; the connection ends after it."""
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
