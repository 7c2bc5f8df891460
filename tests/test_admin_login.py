"""The log-in page: for everybody, and not for guessing."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"


def try_password(client: Client, password: str, name: str = "ada") -> int:
    return client.post(LOGIN, {"username": name, "password": password, "next": "/admin/"}).status_code


def test_ten_wrong_passwords_are_enough() -> None:
    User.objects.create_superuser("ada", "", "the right one")
    client = Client()

    assert [try_password(client, "wrong") for _ in range(10)] == [200] * 10
    refused = client.post(LOGIN, {"username": "ada", "password": "the right one"})

    assert refused.status_code == 429
    assert "Too many wrong passwords" in refused.content.decode()
    assert int(refused.headers["Retry-After"]) > 0
    assert try_password(client, "wrong", name="grace") == 200


def test_right_passwords_do_not_count() -> None:
    User.objects.create_superuser("ada", "", "the right one")

    assert {try_password(Client(), "the right one") for _ in range(12)} == {302}


def test_people_without_staff_rights_can_log_in() -> None:
    User.objects.create_user("guest", password="the right one")
    client = Client()

    response = client.post(LOGIN, {"username": "guest", "password": "the right one", "next": "/try/"})

    assert response.status_code == 302 and response.headers["Location"] == "/try/"


def test_a_wrong_password_is_told_without_saying_which_part_was_wrong() -> None:
    response = Client().post(LOGIN, {"username": "nobody\x00", "password": "x"})

    assert response.status_code == 200
    assert (
        "The user name or the password is wrong" in response.content.decode()
        or "Null characters" in response.content.decode()
    )
