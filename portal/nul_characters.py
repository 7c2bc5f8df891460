"""Takes NUL out of queries and cookies. No text of the portal holds one, and PostgreSQL refuses to look for it."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_NUL, _ESCAPE = "%00", "\\"
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
    if _ESCAPE in cookies:
        # No cookie of the portal has one. In quotes http.cookies reads \000 as a NUL; and before Python 3.11.10 the
        # time for them grows with the square of their number: 19 s for a header of 60 kB.
        request.META["HTTP_COOKIE"] = cookies.replace(_ESCAPE, "")
