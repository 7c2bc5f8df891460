"""Request ids: one for each request, in the answer's header, in every log line, and in the text of a 500.

And which answers are no line of the log, or just one.
"""

from __future__ import annotations

import contextvars
import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class NotNowFilter(logging.Filter):
    """A 503 tells the client to come again: while the portal starts or all slots are taken nothing is broken."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != HTTPStatus.SERVICE_UNAVAILABLE


class OneLineFilter(logging.Filter):
    """Without the traceback: anybody can send what these loggers tell of."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


class RequestIdMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = request_id.set(secrets.token_hex(6))
        try:
            response = self._get_response(request)
            response.headers["X-Request-Id"] = request_id.get()
            return response
        finally:
            request_id.reset(token)
