"""Takes NUL out of queries and cookies. No text of the portal holds one, and PostgreSQL refuses to look for it."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_NUL, _NUL_IN_A_COOKIE = "%00", "\\000"
_LONE_PERCENT = re.compile("%(?![0-9a-fA-F]{2})")


class NulCharactersMiddleware:
    """Here for all, because Django's own filters of the admin pass on what they get."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        take_out(request)
        return self._get_response(request)


def take_out(request: HttpRequest) -> None:
    """To be called before query and cookies are read."""
    query, cookies = request.META.get("QUERY_STRING", ""), request.META.get("HTTP_COOKIE", "")
    if _NUL in query:  # not by deleting alone: `%%0000` would become one
        request.META["QUERY_STRING"] = _LONE_PERCENT.sub("%25", query).replace(_NUL, "")
    if _NUL_IN_A_COOKIE in cookies:  # http.cookies reads it in quotes
        request.META["HTTP_COOKIE"] = cookies.replace(_NUL_IN_A_COOKIE, r"\040")
