"""Takes NUL out of queries. No text of the portal holds one, and PostgreSQL refuses to look for it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

_NUL = "%00"


class NulCharactersMiddleware:
    """Here for all, because Django's own filters of the admin pass on what they get."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if _NUL in query:
            request.META["QUERY_STRING"] = query.replace(_NUL, "")
        return self._get_response(request)
