"""The log-in page: for everybody, and not for guessing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.test import Client

from models_app.models import LoginFailure
from models_app.services.throttle import note_failure

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


@pytest.mark.parametrize("spelling", [" ada", "\uff41da\t"])
@pytest.mark.parametrize("address", [LOGIN, "/login/"])
def test_another_spelling_of_a_name_is_no_way_around(address: str, spelling: str) -> None:
    User.objects.create_superuser("ada", "", "the right one")
    for _ in range(10):
        note_failure("ada", "127.0.0.1")

    refused = Client().post(address, {"username": spelling, "password": "the right one"})

    assert refused.status_code == 429


def test_a_wrong_password_is_noted_under_the_name_that_was_looked_up() -> None:
    Client().post(LOGIN, {"username": " \uff41da", "password": "wrong"})
    Client().post("/api/token/", {"username": "\uff41da", "password": "wrong"})  # nobody is looked up under "ada" here

    assert list(LoginFailure.objects.order_by("pk").values_list("user_name", flat=True)) == ["ada", "\uff41da"]


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


class MeanwhileGuessed(ModelBackend):
    """Looks at a password while ten other guesses are found to be wrong."""

    def authenticate(self, request: Any, **given: Any) -> Any:
        for _ in range(10):
            note_failure("ada", "127.0.0.1")
        return super().authenticate(request, **given)


@pytest.mark.parametrize("password", ["the right one", "wrong"])
@pytest.mark.parametrize("address", [LOGIN, "/api/token/"])
def test_guesses_side_by_side_are_told_no_more_than_ten(settings: Any, address: str, password: str) -> None:
    User.objects.create_superuser("ada", "", "the right one")
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.MeanwhileGuessed"]

    assert Client().post(address, {"username": "ada", "password": password}).status_code == 429
