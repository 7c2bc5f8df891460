"""Django's error handlers: JSON for addresses of the APIs, a page elsewhere. The page for a bug is 500.html."""

from __future__ import annotations

import re

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from inference.errors import NotFound, PermissionRefused, PortalError, ValidationFailed
from inference.protocols.answer import error_answer
from models_app.api.errors import error_body
from models_app.api.views import missing
from models_app.tryit import views as pages

_PROTOCOLS = re.compile(r"/v[12](/|\Z)", re.IGNORECASE)
_UNKNOWN_HOST = (
    "The portal does not answer to this name. Use another one in the address, or have this one added to "
    "PORTAL_ALLOWED_HOSTS."
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: an unknown host, a request that cannot be read."""
    if isinstance(exception, DisallowedHost):
        return _told(request, "Not at this name", ValidationFailed(_UNKNOWN_HOST))
    answer = missing.bad_request if request.path.startswith("/api/") else pages.bad_request
    return answer(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler403`."""
    sentence = "Your account may not do this. Ask an administrator for the right."
    return _told(request, "Not allowed", PermissionRefused(sentence))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler404`."""
    return _told(request, "Not found", NotFound("There is nothing at this address. It may have been deleted."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose CSRF token does not match; Django has logged the reason."""
    sentence = (
        "You have logged in or out since this page was made, or the browser keeps no cookies. Nothing was done. "
        "Go back, load the page again and send it once more."
    )
    return _told(request, "This page is out of date", PermissionRefused(sentence))


def _told(request: HttpRequest, title: str, error: PortalError) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(error_body(error), status=error.status)
    if _PROTOCOLS.match(request.path):
        answer = error_answer(error)
        return HttpResponse(answer.body, answer.content_type.decode(), answer.status)
    is_known = hasattr(request, "user") and request.user.is_authenticated
    is_admins = request.path.startswith(reverse("admin:index"))
    context = {"title": title, "sentence": error.message, "has_permission": is_known, "is_admins": is_admins}
    return render(request, "try/sorry.html", context, status=error.status)
