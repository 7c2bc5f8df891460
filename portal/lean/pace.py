"""How fast a body has to come. The server has no timeout for bodies that stall or trickle."""

from __future__ import annotations

import asyncio
import time

from django.conf import settings

from inference.errors import PortalError, RequestTimeout
from portal.lean.asgi import Message, Receive, Send, send_error

LEAST_BYTES = 1024
LINGER_S = 5.0


class Pace:
    """Reads a body that has to bring 1 KiB, or its end, within every PORTAL_STALL_S seconds of waiting.

    `is_read`: the whole body was read, or the client went away.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waited_s = 0.0
        self._bytes = 0
        self.is_read = False

    async def next(self) -> Message:
        """The next message. Raises RequestTimeout where the client is too slow."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, settings.PORTAL_STALL_S - self._waited_s)):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout("The body of the request stopped coming. Nothing of it was kept.") from None
        self._waited_s += time.monotonic() - began
        self.is_read = message["type"] == "http.disconnect" or not message.get("more_body", False)
        self._bytes += len(message.get("body", b""))
        if self._bytes >= LEAST_BYTES:
            self._waited_s, self._bytes = 0.0, 0
        return message

    async def refuse(self, send: Send, error: PortalError, page: str | None = None) -> None:
        """Answer, then `linger`, so that a client that sends everything before it reads gets the answer."""
        await send_error(send, error, page=page, more_body=True)
        await self.linger()
        await send({"type": "http.response.body", "body": b""})

    async def linger(self) -> None:
        """Read and discard the rest of the body, for 5 s at most."""
        try:
            async with asyncio.timeout(LINGER_S):
                while not self.is_read:
                    await self.next()
        except (TimeoutError, RequestTimeout):
            pass
