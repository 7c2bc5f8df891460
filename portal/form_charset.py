"""Reads forms as UTF-8, as HTML has it, whatever charset their Content-Type names.

Django decodes them with any codec of Python's that has this name. With `rot13` or `idna`, which are no charsets, that
ended in an error of the portal's own.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class FormCharsetMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.encoding = "utf-8"
        return self._get_response(request)
