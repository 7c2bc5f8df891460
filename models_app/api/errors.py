"""One form for all errors: {"code", "detail"} and, for fields, {"fields": {name: [sentence]}}."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFilesSent,
)
from django.db import OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions
from rest_framework.parsers import FormParser
from rest_framework.response import Response

from inference.errors import (
    DiskFull,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PermissionRefused,
    PortalError,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
    is_disk_full,
)
from models_app.services.keys import HOW_TO_SEND

logger = logging.getLogger("portal.api")
INTERNAL = "The portal met an error of its own. It was logged; the header X-Request-Id names it."


def error_body(error: PortalError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "detail": error.message}
    return body | ({"fields": error.fields} if error.fields else {})


def render_error(raised: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler. An unexpected exception is logged with its traceback and answered by a constant."""
    if isinstance(raised, exceptions.UnsupportedMediaType):
        raised = UnsupportedMediaType(f"{raised.detail} Send {_types_taken(context['view'])}.")
    error = as_portal_error(raised)
    if error is None:
        logger.exception("unexpected error in a view", exc_info=raised)
        error = PortalError(INTERNAL)
    return Response(error_body(error), status=error.status, headers=error.headers)


def _types_taken(view: Any) -> str:
    """The media types of a view; of the two for forms only the one that carries files."""
    return " or ".join(sorted(parser.media_type for parser in view.parser_classes if parser is not FormParser))


def as_portal_error(raised: Exception) -> PortalError | None:
    """The expected failure that an exception of Django or DRF means, or None for a bug."""
    if isinstance(raised, PortalError):
        return raised
    if isinstance(raised, (Http404, exceptions.NotFound)):
        return NotFound("There is nothing at this address.")
    if isinstance(raised, ObjectDoesNotExist):  # a row that was found, and deleted before it could be locked
        return NotFound("It has been deleted in this moment.")
    if isinstance(raised, exceptions.NotAuthenticated):
        return NotAuthenticated(HOW_TO_SEND)
    if isinstance(raised, exceptions.AuthenticationFailed):
        return NotAuthenticated(str(raised.detail))
    if isinstance(raised, (PermissionDenied, exceptions.PermissionDenied)):
        return PermissionRefused(str(getattr(raised, "detail", "")) or "The user's rights do not allow this.")
    if isinstance(raised, exceptions.MethodNotAllowed):
        return MethodNotAllowed(str(raised.detail))
    if isinstance(raised, exceptions.NotAcceptable):
        return ValidationFailed("The answer is JSON; the Accept header asks for something else.")
    if isinstance(raised, exceptions.ParseError):
        return ValidationFailed("The body cannot be read: " + str(raised.detail))
    if isinstance(raised, (RequestDataTooBig, TooManyFilesSent)):
        return TooLarge("The request is larger than one request may be.")
    if isinstance(raised, (MultiPartParserError, UnreadablePostError, BadRequest, SuspiciousOperation)):
        return ValidationFailed("The request cannot be read: it is damaged or cut off.")
    return failure_of_the_host(raised)


def failure_of_the_host(raised: BaseException | None) -> PortalError | None:
    """A full disk, a database that does not answer; None for everything else."""
    if is_disk_full(raised) or (isinstance(raised, OperationalError) and "disk is full" in str(raised)):
        logger.error("the disk is full: %s", raised)
        return DiskFull("The disk is full. Nothing of the request was kept; free some space and try again.")
    if isinstance(raised, OperationalError):
        logger.warning("the database does not answer: %s", raised)
        return Unavailable("The database is busy. Try again in some seconds.", retry_after_s=5)
    return None
