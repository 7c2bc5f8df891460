"""What the log tells of answers: bugs, and not that the portal is busy or still starting."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

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
