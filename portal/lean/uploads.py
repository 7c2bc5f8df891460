"""Uploads: received in front of Django, streamed to disk, never in memory.

Django's own handler spools a whole body before any view runs, and copies it again: it takes twice the disk, and with a
limit of 5 MB it still receives 300 MB. So here the key (or the session with its CSRF header), the permission, the
length and the disk are checked before the first byte. The view then gets what was received in `scope["portal.upload"]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any

import multipart
from asgiref.sync import sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections, connections
from django.http import HttpResponse
from rest_framework.request import Request

from inference.errors import (
    NotAuthenticated,
    PermissionRefused,
    PortalError,
    TooLarge,
    UnsupportedMediaType,
    ValidationFailed,
)
from inference.protocols.content_coding import check_plain
from models_app.api.authentication import BrowserAuthentication, KeyAuthentication
from models_app.api.errors import as_portal_error
from models_app.api.file_names import NameReader, file_name
from models_app.api.permissions import may
from models_app.rights import ADD, ADD_MODEL, LOAD
from models_app.services.files import (
    ReceivedFile,
    check_disk,
    check_size,
    new_upload_path,
    open_new,
    without_folders,
)
from models_app.services.find import find_model
from models_app.services.keys import HOW_TO_SEND
from portal.lean.asgi import Application, Message, Receive, Scope, Send, header
from portal.lean.pace import Pace
from portal.nul_characters import take_out as take_out_nul

_VERSIONS_PATH = re.compile(r"/api/models/(?P<name>[-\w]+)/versions/\Z")
_PATHS = (
    ("POST", re.compile(r"/api/models/\Z"), (ADD_MODEL,)),
    ("POST", _VERSIONS_PATH, (ADD,)),
    ("PUT", re.compile(r"/api/model/\Z"), (ADD, ADD_MODEL, LOAD)),
)
FIELD_BYTES = 2**20
MOST_FIELDS = 32
BLOCK_BYTES = 2 * 2**20
"""How much is hashed and written at a time, on the request's own thread: each switch to it costs 0.2 ms. The first
blocks are smaller, so that an error in the form is reported early."""
BLOCK_MESSAGES = 64
LOOK_AT_DISK_EVERY_BYTES = 64 * 2**20
TEXT_FIELDS = frozenset(
    {"name", "model_id", "description", "labels", "preprocessing", "postprocessing", "options", "engine"}
)
"""Fields that may also come as a file part, whose content is taken as text."""
_FORM_OVERHEAD_BYTES = 2**20


@dataclass(slots=True)
class Upload:
    """A form that was received: its text fields, and the file where there was one."""

    fields: dict[str, str] = field(default_factory=dict)
    file: ReceivedFile | None = None


def upload_permissions(scope: Scope) -> tuple[str, ...] | None:
    """The permissions that an upload to this address needs, None for every other request.

    A PUT without a multipart form names a file of the import folder: it is an ordinary request.
    """
    for method, path, permissions in _PATHS:
        if scope["method"] == method and path.match(scope["path"]):
            is_form = (header(scope, b"content-type") or "").lower().startswith("multipart/form-data")
            return permissions if is_form or method == "POST" else None
    return None


async def receive_upload(
    scope: Scope, receive: Receive, send: Send, django: Application, permissions: Sequence[str]
) -> None:
    """Check, receive, hand over to Django. Whatever happens, a file that no view took is removed."""
    pace = Pace(receive)
    try:
        await sync_to_async(_check_sender)(scope, permissions)
        check_plain(header(scope, b"content-encoding"))
        boundary = _boundary(scope)
        await asyncio.to_thread(_check_length, scope)
    except PortalError as error:
        await pace.refuse(send, error)
        return
    receiver = FormReceiver(boundary)
    try:
        try:
            upload = await receiver.run(pace)
        except PortalError as error:
            await sync_to_async(receiver.discard)()
            await pace.refuse(send, error)
            return
        if upload is not None:
            await django(_without_body(scope) | {"portal.upload": upload}, _empty_body(receive), send)
    finally:
        await sync_to_async(receiver.discard)()


def _check_sender(scope: Scope, permissions: Sequence[str]) -> None:
    """Raises PortalError. Closes the database connection, which a slow upload would hold for hours: PostgreSQL has a
    hundred."""
    close_old_connections()
    try:
        _authorise(scope, permissions)
        _check_model(scope)
    finally:
        connections.close_all()


def _authorise(scope: Scope, permissions: Sequence[str]) -> None:
    """Authorise the sender with the views' classes. Raises NotAuthenticated or PermissionRefused."""
    request = ASGIRequest(_without_body(scope), BytesIO())
    take_out_nul(request)
    SessionMiddleware(lambda _: HttpResponse()).process_request(request)
    AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
    view = Request(request, authenticators=[KeyAuthentication(), BrowserAuthentication()])
    try:
        user = view.user
        missing = [one for one in permissions if user.is_authenticated and not may(user, view.auth, one)]
    except Exception as error:
        raise as_portal_error(error) or error from None
    if not user.is_authenticated:
        raise NotAuthenticated(HOW_TO_SEND)
    if missing:
        raise PermissionRefused(_refusal(user, missing[0], has_key=view.auth is not None))


def _refusal(user: Any, permission: str, *, has_key: bool) -> str:
    if has_key:
        return "The key's scope or the user's rights do not allow uploads."
    if permission == ADD_MODEL and user.has_perm(ADD):
        return "Your account may add versions to models that exist, but no new models."
    if permission == LOAD:
        return "Your account may upload models, but not load them."
    return "Your account may not upload models. Ask an administrator for the right."


def _check_model(scope: Scope) -> None:
    """Raises NotFound where a version is sent for a model that does not exist, before gigabytes of it come."""
    if (match := _VERSIONS_PATH.match(scope["path"])) is not None:
        find_model(match["name"])


def _boundary(scope: Scope) -> str:
    kind, options = multipart.parse_options_header(header(scope, b"content-type") or "")
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UnsupportedMediaType("Send a form: multipart/form-data with the file in the field file.")
    return str(options["boundary"])


def _check_length(scope: Scope) -> None:
    """Raises TooLarge or DiskFull from what the client announces; what it really sends is counted as it comes."""
    length = header(scope, b"content-length")
    size = int(length) if length is not None and length.isdigit() else 0
    check_size(size - _FORM_OVERHEAD_BYTES)
    check_disk(size)


class FormReceiver:
    """Feeds the body to the multipart parser; the part `file` goes to disk, the others are short texts.

    All but the reading is done on a thread, because the event loop answers predictions; the next block is read only
    after that, so a slow disk slows its client and nobody else.
    """

    def __init__(self, boundary: str) -> None:
        self._boundary = boundary
        self._upload = Upload()
        self._path = new_upload_path()
        self._writer: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._seen = 0
        self._size = 0
        self._looked_at = 0
        self._name = ""
        self._field = ""
        self._text = bytearray()

    async def run(self, pace: Pace) -> Upload | None:
        """The received form; None where the client went away. Raises PortalError for a form that cannot be taken."""
        try:
            parser = NameReader(
                self._boundary, max_segment_count=MOST_FIELDS, max_header_size=8192, header_charset="utf8"
            )
            with parser:
                while not pace.is_read:
                    block = await _next_block(pace, min(self._seen, BLOCK_BYTES))
                    if block is None:
                        parser.close(check_complete=False)
                        return None
                    await sync_to_async(self._feed)(parser, block)
        except multipart.ParserLimitReached as error:
            raise TooLarge(f"The form cannot be read: {error}.") from None
        except multipart.MultipartError as error:
            raise ValidationFailed(f"The form cannot be read: {error.args[0]}.") from None
        return self._upload

    def _feed(self, parser: NameReader, block: list[bytes]) -> None:
        for body in block:
            self._seen += len(body)
            check_size(self._seen - MOST_FIELDS * FIELD_BYTES)  # it may also hold what is passed over, outside of parts
            if body:
                for event in parser.parse(body):
                    self._take(event)

    def discard(self) -> None:
        """Remove the file if no view took it: 0.1 s for a gigabyte."""
        if self._writer is not None:
            with contextlib.suppress(OSError):  # closing writes what is left, and the disk may be full
                self._writer.close()
        self._path.unlink(missing_ok=True)

    def _take(self, event: Any) -> None:
        if isinstance(event, multipart.MultipartSegment):
            self._begin(event)
        elif event is None:
            self._end()
        elif self._writer is not None:
            self._size += len(event)
            check_size(self._size)
            if self._size - self._looked_at > LOOK_AT_DISK_EVERY_BYTES:
                self._looked_at = self._size
                check_disk(0)
            self._digest.update(event)
            self._writer.write(event)
        else:
            self._text += event
            if len(self._text) > FIELD_BYTES:
                raise TooLarge(f"The field {self._field[:50]} holds more than a field may.")

    def _begin(self, segment: multipart.MultipartSegment) -> None:
        self._field, self._text = segment.name, bytearray()
        name = file_name(segment)
        if segment.name != "file":
            if name and segment.name not in TEXT_FIELDS:
                raise ValidationFailed.of("file", f"Send the model in the field file, not in {segment.name[:50]}.")
            return
        if name == "":  # a browser's form in which no file was chosen
            return
        if self._upload.file is not None:
            raise ValidationFailed.of("file", "Send one file. What is a folder comes as .zip, .tar or .tar.gz.")
        if name is None:
            raise ValidationFailed.of("file", "The field file holds no file.")
        self._name = without_folders(name) or "model"
        self._writer = open_new(self._path)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._upload.file = ReceivedFile(self._path, self._name, self._size, self._digest.hexdigest())
            return
        if self._field == "file" and self._text:
            raise ValidationFailed.of("file", "What was sent as file has no file name. Send it as a file.")
        try:
            text = self._text.decode("utf-8")
        except UnicodeDecodeError:
            raise ValidationFailed.of(self._field, f"{self._field} is not text in UTF-8.") from None
        if "\x00" in text:
            raise ValidationFailed.of(self._field, f"{self._field} holds a character that no text has.")
        self._upload.fields[self._field] = text


async def _next_block(pace: Pace, least_bytes: int) -> list[bytes] | None:
    """The next part: `least_bytes`, BLOCK_MESSAGES messages, or the body's end. None where the client went away."""
    block: list[bytes] = []
    size = 0
    while not block or (size < least_bytes and len(block) < BLOCK_MESSAGES and not pace.is_read):
        message = await pace.next()
        if message["type"] == "http.disconnect":
            return None
        block.append(message.get("body", b""))
        size += len(block[-1])
    return block


def _without_body(scope: Scope) -> dict[str, Any]:
    dropped = {b"content-type", b"content-length", b"transfer-encoding"}
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name not in dropped]}


def _empty_body(receive: Receive) -> Receive:
    """What Django reads: an empty body, then the server's messages (a disconnect)."""
    is_first = True

    async def read() -> Message:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        return await receive()

    return read
