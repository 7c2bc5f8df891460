"""Shows times in the time zone of the browser, which sends it in a cookie (live.js); without one, in UTC."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "zone"


class BrowserZoneMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(_zone(request.COOKIES.get(COOKIE, ""))):
            return self._get_response(request)


def _zone(name: str) -> ZoneInfo | None:
    """None for a name that this host does not know."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
