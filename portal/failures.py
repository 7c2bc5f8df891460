"""Django's error handlers: JSON for addresses of the APIs, a page elsewhere."""

from __future__ import annotations

import re
import sys

from django.core.exceptions import DisallowedHost, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse

from inference.errors import NotFound, PermissionRefused, PortalError, TooLarge, ValidationFailed
from inference.protocols.answer import error_answer
from inference.runner.config import MOST_PICTURES
from models_app.api.errors import INTERNAL, error_body, failure_of_the_host
from models_app.pages.failure import failure_page, failure_text

_API = "/api/"
_PROTOCOLS = re.compile(r"/v[12](/|\Z)", re.IGNORECASE)
_UNKNOWN_HOST = (
    "The portal does not answer to this name. Use another one in the address, or have this one added to "
    "PORTAL_ALLOWED_HOSTS."
)
_BUG = (
    "The portal met an error of its own, and it was logged. Go back and try again; if it stays, tell an administrator "
    "what you did and when."
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: an unknown host, a request that cannot be read.

    Too many files at once are an honest mistake with a sentence of its own. Django meets that limit while it looks for
    the CSRF token in the form.
    """
    if isinstance(exception, DisallowedHost):
        return _answer(request, ValidationFailed(_UNKNOWN_HOST), "Not at this name")
    if _is_of_programs(request):
        sentence = "The portal does not take this request. Look at its address and its headers."
        return _answer(request, ValidationFailed(sentence))
    if isinstance(exception, (TooManyFilesSent, TooManyFieldsSent, RequestDataTooBig)):
        most = f"Send at most {MOST_PICTURES} pictures at once, then the next ones."
        return _answer(request, TooLarge(f"This is too much for one request. {most}"))
    sentence = "The request cannot be read. Go back, load the page again and try once more."
    return _answer(request, ValidationFailed(sentence))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler403`."""
    return _answer(request, PermissionRefused("Your account may not do this. Ask an administrator for the right."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404`."""
    return _answer(request, NotFound("There is nothing at this address. It may have been deleted."))


def server_error(request: HttpRequest) -> HttpResponse:
    """`handler500`: a bug, or a host without disk or database. That may be what failed, so nobody is looked up."""
    error = failure_of_the_host(sys.exception())
    if _is_of_programs(request):
        return _answer(request, error or PortalError(INTERNAL))
    error = error or PortalError(_BUG)
    return HttpResponse(failure_text(request.path, error), status=error.status, headers=error.headers)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose CSRF token does not match; Django has logged the reason."""
    sentence = (
        "You have logged in or out since this page was made, or the browser keeps no cookies. Nothing was done. "
        "Go back, load the page again and send it once more."
    )
    return _answer(request, PermissionRefused(sentence), "This page is out of date")


def _is_of_programs(request: HttpRequest) -> bool:
    return request.path.startswith(_API) or _PROTOCOLS.match(request.path) is not None


def _answer(request: HttpRequest, error: PortalError, title: str = "") -> HttpResponse:
    """In the form of the errors at this address."""
    if request.path.startswith(_API):
        return JsonResponse(error_body(error), status=error.status, headers=error.headers)
    if _PROTOCOLS.match(request.path):
        answer = error_answer(error)
        return HttpResponse(answer.body, answer.content_type.decode(), answer.status, headers=error.headers)
    return failure_page(request, error, title)
