"""One story: uploads are received by a handler of their own, every other body is counted on its way to Django."""

from __future__ import annotations

import asyncio

from django.conf import settings

from inference.errors import PortalError, RequestTimeout, TooLarge
from portal.lean.asgi import Application, Message, Receive, Scope, Send, header, send_error
from portal.lean.threads import ThreadLender
from portal.lean.uploads import receive_upload, upload_permission

STALLED_AFTER_S = 30.0
"""A body that does not move for this long is given up: neither granian nor uvicorn ends it."""
_UPLOAD_FORM_PATH = "/admin/models_app/modelversion/add/"
_FORM_OVERHEAD_BYTES = 2 * 2**20
"""The other fields of the upload form; labels may be many."""


class LeanApplication:
    """The whole portal as one ASGI application."""

    def __init__(self, django_application: Application) -> None:
        self._django = django_application
        self._threads = ThreadLender()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            async with self._threads.thread():
                if (permission := upload_permission(scope)) is not None:
                    await receive_upload(scope, receive, send, self._django, permission)
                else:
                    await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To Django, with a limit on the body's size and on how long it may stall."""
        length = header(scope, b"content-length")
        most_bytes = _most_bytes(scope)
        if length is not None and length.isdigit() and int(length) > most_bytes:
            await send_error(send, _too_large(most_bytes))
            return
        problem: PortalError | None = None
        is_answered = False
        seen = 0

        async def counted() -> Message:
            nonlocal seen, problem
            try:
                async with asyncio.timeout(STALLED_AFTER_S if not is_body_read else None):
                    message = await receive()
            except TimeoutError:
                problem = RequestTimeout("The body of the request stopped coming.")
                return {"type": "http.disconnect"}
            seen += len(message.get("body", b""))
            if seen > most_bytes:
                problem = _too_large(most_bytes)
                return {"type": "http.disconnect"}
            mark_read(message)
            return message

        is_body_read = False

        def mark_read(message: Message) -> None:
            nonlocal is_body_read
            is_body_read = is_body_read or not message.get("more_body", False)

        async def watched(message: Message) -> None:
            nonlocal is_answered
            if problem is None:
                is_answered = True
                await send(message)

        await self._django(scope, counted, watched)
        if problem is not None and not is_answered:
            await send_error(send, problem)


def _most_bytes(scope: Scope) -> int:
    """What the body of a request to Django may hold; the upload form without a script has a limit of its own."""
    if scope["method"] == "POST" and scope["path"] == _UPLOAD_FORM_PATH:
        return int(settings.PORTAL_FORM_UPLOAD_BYTES) + _FORM_OVERHEAD_BYTES
    return int(settings.PORTAL_MAX_REQUEST_BYTES)


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"A request to this address may hold {most_bytes // 2**20} MiB.")


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
