"""Whose wrong passwords are counted together: behind a proxy not everybody's."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from models_app.services.client_address import client_address


def seen(peer: str, forwarded: str | None = None) -> str:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    return client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the first is what the client claims
        ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("127.0.0.1", "203.0.113.9, unknown", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("2001:db8:1:2:3::5", "203.0.113.9", "2001:db8:1:2::/64"),
        ("", "203.0.113.9", ""),
    ],
)
def test_only_the_proxy_on_this_machine_is_believed(settings: Any, peer: str, forwarded: str, address: str) -> None:
    settings.PORTAL_HTTPS = True

    assert seen(peer, forwarded) == address


def test_without_a_proxy_nobody_is() -> None:
    assert seen("127.0.0.1", "203.0.113.9") == "127.0.0.1"


@pytest.mark.django_db
@pytest.mark.parametrize(("address", "wrong", "right"), [("/login/", 200, 302), ("/api/token/", 401, 201)])
def test_nobody_locks_others_out_from_elsewhere(settings: Any, address: str, wrong: int, right: int) -> None:
    settings.PORTAL_HTTPS = True
    User.objects.create_superuser("ada", "", "the right one")

    def status(password: str, forwarded: str) -> int:
        given = {"username": "ada", "password": password}
        return Client().post(address, given, headers={"X-Forwarded-For": forwarded}).status_code

    assert [status("wrong", f"192.0.2.{claimed}, 203.0.113.9") for claimed in range(10)] == [wrong] * 10
    assert status("the right one", "192.0.2.99, 203.0.113.9") == 429
    assert status("the right one", "198.51.100.1") == right
