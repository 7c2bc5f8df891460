"""Who sends a form after the session has ended is led to the log-in, and what was sent is gone: said once after it.

A cookie carries it there: the log-in page itself would show a message, and nobody's POST is to make a session.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

COOKIE = "lost_form"
KEPT_S = 3600
WORDS = "You were logged out, so nothing was saved or done. Fill in the form or press the button again."


class LostFormMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if request.method != "POST" or response.status_code != 302:
            return response
        if not request.user.is_authenticated:
            if _is_to_the_login(response) and "fragment" not in request.GET:  # a script says it itself
                response.set_cookie(
                    COOKIE, "1", KEPT_S, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax"
                )
        elif COOKIE in request.COOKIES:
            messages.warning(request, WORDS)
            response.delete_cookie(COOKIE, samesite="Lax")
        return response


def _is_to_the_login(response: HttpResponse) -> bool:
    """Not so after a log-out, which leads to the log-in without a way back."""
    target = urlsplit(response.headers["Location"])
    return target.path in {reverse("login"), reverse("admin:login")} and REDIRECT_FIELD_NAME in parse_qs(target.query)
