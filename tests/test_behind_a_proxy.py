"""Behind a proxy with TLS: what checks and measures from this machine needs neither a name nor TLS, all else does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.running_portal import RunningPortal, running_portal

pytestmark = pytest.mark.portal

LOOPBACK = ["127.0.0.1:8000", "localhost", "[::1]:8000"]
NAME = "models.example.org"
OPEN = ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"]
OTHERS = ["/try/", "/api/models/", "/v2/models", "/v1/models"]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    folder = tmp_path_factory.mktemp("proxied") / "data"
    with running_portal(folder, PORTAL_HTTPS="1", PORTAL_ALLOWED_HOSTS=NAME, PORTAL_SAMPLE="0") as started:
        yield started


def asked(portal: RunningPortal, path: str, host: str, **headers: str) -> requests.Response:
    return requests.get(f"{portal.url}{path}", headers={"Host": host, **headers}, timeout=30, allow_redirects=False)


@pytest.mark.parametrize("host", [*LOOPBACK, NAME])
def test_health_is_open_without_tls(proxied: RunningPortal, host: str) -> None:
    assert {path: asked(proxied, path, host).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_figures_are_open_to_programs_of_this_machine_and_not_through_a_proxy(proxied: RunningPortal) -> None:
    programs = [asked(proxied, "/metrics", host).status_code for host in LOOPBACK]
    by_name = asked(proxied, "/metrics", NAME)
    with socket.create_connection(("127.0.0.1", proxied.port), 30) as nginx, nginx.makefile("rb") as answer:
        nginx.sendall(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % proxied.port)
        as_nginx = answer.readline()

    assert programs == [200] * len(LOOPBACK)
    assert by_name.status_code == 401
    assert b" 401 " in as_nginx


@pytest.mark.parametrize("path", OTHERS)
def test_all_else_is_led_to_tls(proxied: RunningPortal, path: str) -> None:
    answer = asked(proxied, path, NAME)

    assert (answer.status_code, answer.headers["Location"]) == (301, f"https://{NAME}{path}")


@pytest.mark.parametrize("forwarded", ["https", "https, http"])
def test_what_came_to_the_proxy_over_tls_is_answered(proxied: RunningPortal, forwarded: str) -> None:
    answers = [asked(proxied, path, NAME, **{"X-Forwarded-Proto": forwarded}).status_code for path in OTHERS]

    assert answers == [302, 401, 401, 401]


def test_an_unknown_name_is_one_line_in_the_log(proxied: RunningPortal) -> None:
    before = len(proxied.log())

    statuses = [asked(proxied, path, "elsewhere.example").status_code for path in ("/metrics", "/v2/health/ready")]

    lines = proxied.log()[before:].splitlines()
    assert statuses == [400, 400]
    assert ["elsewhere.example" in line for line in lines] == [True, True], lines


@pytest.mark.parametrize(
    ("names", "origins"), [(NAME, [f"https://{NAME}"]), (".a.example", ["https://a.example", "https://*.a.example"])]
)
def test_trusted_are_pages_of_the_names_and_not_of_this_machine(names: str, origins: list[str], tmp_path: Path) -> None:
    portal = RunningPortal(tmp_path, PORTAL_HTTPS="1", PORTAL_ALLOWED_HOSTS=names)
    command = "from django.conf import settings; print(settings.CSRF_TRUSTED_ORIGINS)"

    assert portal.manage("shell", "-v0", "-c", command).stdout.strip() == str(origins)
