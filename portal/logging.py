"""Request ids: one for each request, in the response's header and in every log line.

And what keeps the log readable: filters for responses that are not logged, or without a traceback; one line a message.
"""

from __future__ import annotations

import contextvars
import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

LONGEST_LINE = 5000

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class NotNowFilter(logging.Filter):
    """Drops 503: the client is to try again, and while the portal starts or all slots are taken nothing is broken."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != HTTPStatus.SERVICE_UNAVAILABLE


class OneLineFilter(logging.Filter):
    """Drops the traceback: anybody can cause what these loggers report."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


class LineFormatter(logging.Formatter):
    """Puts each message on one line of at most LONGEST_LINE characters: it may hold what a client, a file or a model's
    process said, up to 64 kB, with lines of its own and orders to the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)[:LONGEST_LINE]
        return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


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
