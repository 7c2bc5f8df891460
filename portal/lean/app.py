"""Inference and uploads are answered in front of Django; other requests go to Django, with limits on their bodies."""

from __future__ import annotations

import logging
import re

from django.conf import settings

from inference.errors import NotFound, PortalError, TooLarge
from inference.protocols.content_coding import check_plain
from models_app.api.errors import INTERNAL, as_portal_error
from models_app.api.views.missing import NOTHING_HERE, exists
from models_app.pages.failure import failure_text
from models_app.pages.words import size_words
from models_app.services.files import form_limit_bytes
from portal.lean.asgi import Application, Header, Message, Receive, Scope, Send, header, send_error
from portal.lean.exchange import new_request_id
from portal.lean.inference import InferencePath
from portal.lean.pace import Pace
from portal.lean.threads import ThreadLender
from portal.lean.uploads import receive_upload, upload_permissions

logger = logging.getLogger("portal.lean")
_UPLOAD_FORM_PATH = "/admin/models_app/modelversion/add/"
_PREDICT_PATH = re.compile(
    r"/api/models/[^/]+/(versions/[0-9]+/)?predict/\Z|/api/image/\Z|/try/[^/]+/\Z|/admin/models_app/modelversion/\Z"
    r"|/v[12]/",
    re.IGNORECASE,
)
"""Addresses that take pictures or tensors."""
_LOGIN_PATHS = frozenset({"/api/token/", "/login/", "/password/", "/admin/login/", "/admin/password_change/"})
_LOGIN_BYTES = 2**20
"""Small, because anybody may send one, and parsed JSON takes fifty times its size."""
_FIELDS_BYTES = 2 * 2**20
"""For bodies without pictures, tensors or files; labels may be many."""


class LeanApplication:
    """The whole portal as one ASGI application."""

    def __init__(self, django_application: Application) -> None:
        self._django = django_application
        self._threads = ThreadLender()
        self._inference = InferencePath(self._threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._inference.start()
            await _live(receive, send)
        elif scope["type"] == "http":
            if (route := self._inference.route(scope)) is not None:
                await self._inference.answer(route, scope, receive, send)
                return
            async with self._threads.thread():
                await self._answer_failures(scope, receive, send)

    async def _answer_failures(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive an upload or pass the request on. Errors before any response, as on a full disk, are answered."""
        is_answered = False

        async def watched(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            if (permissions := upload_permissions(scope)) is not None:
                await receive_upload(scope, receive, watched, self._django, permissions)
            else:
                await self._pass_on(scope, receive, watched)
        except Exception as raised:
            error = as_portal_error(raised)
            names: list[Header] = []
            if error is None:
                names = [(b"x-request-id", new_request_id().encode())]
                logger.exception("unexpected error in front of the views")
                error = PortalError(INTERNAL)
            if is_answered:
                raise
            await send_error(send, error, *names, page=_page(scope, error))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to Django, with limits on the body's size and pace."""
        try:
            _check_announced(scope)
        except PortalError as error:
            await Pace(receive).refuse(send, error, _page(scope, error))
            return
        body = _CountedBody(scope, receive)
        is_answered = False

        async def watched(message: Message) -> None:
            nonlocal is_answered
            if body.problem is None:
                is_answered = True
                await send(message)

        await self._django(body.scope, body.read, watched)
        if body.problem is not None and not is_answered:
            await body.pace.refuse(send, body.problem, _page(scope, body.problem))


class _CountedBody:
    """The body as Django reads it, up to the size allowed. `problem` is why reading ended early."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope: Scope = {**scope, "headers": list(scope["headers"])}
        self.problem: PortalError | None = None
        self._receive = receive
        self.pace = Pace(receive)
        self._bytes = 0

    async def read(self) -> Message:
        if self.pace.is_read:
            return await self._receive()
        try:
            message = await self.pace.next()
            self._bytes += len(message.get("body", b""))
            if self._bytes > _most_bytes(self.scope):
                raise _too_large(self.scope)
        except PortalError as error:
            self.problem = error
            return {"type": "http.disconnect"}
        if not message.get("more_body", False):
            self._say_length()
        return message

    def _say_length(self) -> None:
        """Add Content-Length to a chunked request: without it Django takes the body for an empty one.

        Django builds its request from the scope only after it has read the body.
        """
        if self._bytes and header(self.scope, b"content-length") is None:
            headers = [(name, value) for name, value in self.scope["headers"] if name != b"transfer-encoding"]
            self.scope["headers"][:] = [*headers, (b"content-length", str(self._bytes).encode())]


def _check_announced(scope: Scope) -> None:
    """Check what the headers say of the body. Raises UnknownCoding, which Django would ignore, or `_too_large`."""
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > _most_bytes(scope):
        raise _too_large(scope)
    if length not in {None, "0"} or header(scope, b"transfer-encoding") is not None:
        check_plain(header(scope, b"content-encoding"))


def _most_bytes(scope: Scope) -> int:
    """The size limit of a body for Django; the upload form without JavaScript has a limit of its own."""
    if _is_upload_form(scope):
        return form_limit_bytes() + _FIELDS_BYTES
    most_bytes = int(settings.PORTAL_MAX_REQUEST_BYTES)
    if _PREDICT_PATH.match(scope["path"]):
        return most_bytes
    return min(most_bytes, _LOGIN_BYTES if scope["path"] in _LOGIN_PATHS else _FIELDS_BYTES)


def _is_upload_form(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"] == _UPLOAD_FORM_PATH)


def _too_large(scope: Scope) -> PortalError:
    """NotFound for an unknown API address, such as an upload's without its slash."""
    if scope["path"].startswith("/api/") and not exists(scope["path"]):
        return NotFound(NOTHING_HERE)
    if not _is_upload_form(scope):
        sentence = f"A request to this address may hold at most {size_words(_most_bytes(scope))}."
        takes_files = _PREDICT_PATH.match(scope["path"])
        return TooLarge(f"{sentence} Send fewer files or smaller ones." if takes_files else sentence)
    limit = size_words(form_limit_bytes())
    if form_limit_bytes() == settings.PORTAL_MAX_UPLOAD_BYTES:
        return TooLarge(f"A file may hold at most {limit}. Nothing was kept. Go back and choose a smaller one.")
    return TooLarge(
        f"Without JavaScript a file may have {limit}. Nothing was kept. Go back and choose a smaller one; a larger one "
        "needs JavaScript, the REST API or manage.py import_model."
    )


def _page(scope: Scope, error: PortalError) -> str | None:
    """The error as a page for a browser that sent a form without JavaScript; None for programs, which get JSON."""
    if scope["path"].startswith("/api/") or "text/html" not in (header(scope, b"accept") or ""):
        return None
    return failure_text(scope["path"], error, "This did not arrive")


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
