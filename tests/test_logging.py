"""What the log tells of answers: bugs, and not that the portal is busy or still starting. Each message is one line."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from portal.logging import LONGEST_LINE, LineFormatter
from portal.urls import urlpatterns as portal_addresses


def bad_gateway(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=502)


urlpatterns = [*portal_addresses, path("bad-gateway", bad_gateway)]


def told_of(caplog: pytest.LogCaptureFixture, client: Client, address: str) -> tuple[int, list[Any]]:
    """The status, and the levels of what was logged."""
    with caplog.at_level(logging.INFO):
        status = client.get(address).status_code
    return status, [record.levelname for record in caplog.records if record.name == "django.request"]


@pytest.mark.django_db
def test_a_portal_that_is_not_ready_yet_is_no_error(caplog: pytest.LogCaptureFixture, client: Client) -> None:
    assert told_of(caplog, client, "/readyz") == (503, [])


@pytest.mark.urls(__name__)
def test_other_failures_are(caplog: pytest.LogCaptureFixture, client: Client) -> None:
    assert told_of(caplog, client, "/bad-gateway") == (502, ["ERROR"])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no model\n2026-01-01 ERROR all is lost", r"no model\n2026-01-01 ERROR all is lost"),
        ("\x1b[2J\u2028\udc80", r"\x1b[2J\u2028\udc80"),
        ("Größe: 4 × 4", "Größe: 4 × 4"),
    ],
)
def test_what_a_file_made_its_process_say_is_one_line_without_orders_to_the_terminal(said: str, told: str) -> None:
    assert line_of(said).endswith(f" it said: {told}")
    assert len(line_of(said * 10_000)) < 20 * LONGEST_LINE


def line_of(said: str) -> str:
    [formatter] = {one.formatter for one in logging.getLogger().handlers if isinstance(one.formatter, LineFormatter)}
    record = logging.LogRecord("child", logging.WARNING, __file__, 1, "it said: %s", (said,), None)
    record.request_id = "-"
    return formatter.format(record)
