"""Keeping Django's middleware on one thread under ASGI."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class OneThreadMiddleware:
    """Innermost and synchronous only, so that Django runs all middleware around it synchronously too.

    Django's own middleware can do both; with an asynchronous handler inside, each one changes threads twice for every
    request. With this one there is a single change.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)
