"""Keys: made for a password, carried as Bearer or Token, worth their scope ∩ their user's rights while both live."""

from __future__ import annotations

import pytest
import requests

from tests.people import People
from tests.running_portal import PASSWORD, Api, RunningPortal

pytestmark = pytest.mark.portal


def ask(portal: RunningPortal, **wish: object) -> requests.Response:
    return requests.post(f"{portal.url}/api/token/", json=wish, timeout=30)


def test_a_key_is_shown_once_and_works_as_bearer_and_as_token(portal: RunningPortal) -> None:
    answer = ask(portal, username="admin", password=PASSWORD, name="a laptop")
    key = answer.json()

    assert answer.status_code == 201
    assert set(key) == {"token", "name", "scope", "expires_at"}
    assert (key["name"], key["scope"]) == ("a laptop", "predict")
    for word in ("Bearer", "Token", "bearer"):
        client = Api(portal.url, None)
        client.headers["Authorization"] = f"{word} {key['token']}"
        assert client.get("/api/models/").status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer nonsense", "Token mp_nonsense", "Bearer mp_\xe9", "Basic YTpi", "x" * 4000]
)
def test_what_is_no_key_is_answered_with_401(portal: RunningPortal, header: str) -> None:
    client = Api(portal.url, None)
    client.headers["Authorization"] = header.encode("latin-1")  # type: ignore[assignment]

    for answer in (client.get("/api/models/"), client.post("/api/models/", files={"file": b"x"})):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["{key}", "Api-Key {key}", "Bearer\t{key}", "Basic eDp5", None])
def test_who_sends_no_key_as_a_key_is_told_how_on_every_protocol(portal: RunningPortal, header: str | None) -> None:
    key = str(portal.client().headers["Authorization"]).removeprefix("Bearer ")
    client = Api(portal.url, None)
    if header is not None:
        client.headers["Authorization"] = header.format(key=key)

    answers = [
        client.get("/api/models/"),
        client.post("/api/models/", files={"file": b"x"}),
        client.post("/api/models/digits/predict/", json={"instances": [1]}),
        client.post("/v2/models/digits/infer"),
        client.post("/v1/models/digits:predict"),
    ]

    assert {answer.status_code for answer in answers} == {401}
    said = {answer.json().get("detail") or answer.json()["error"] for answer in answers}
    assert said == {"Send a key: Authorization: Bearer KEY."}


def test_asking_for_more_than_the_user_has_is_refused(people: People) -> None:
    refused = [people.ask_for_key(*wish) for wish in (("nobody", "predict"), ("nobody", "manage"), ("asker", "manage"))]

    assert [answer.status_code for answer in refused] == [403, 403, 403]
    assert {answer.json()["code"] for answer in refused} == {"permission_denied"}
    assert refused[0].json()["detail"] == "A key of the scope predict is for users who may see or ask models."
    assert people.ask_for_key("asker", "predict").status_code == 201


def test_a_key_can_do_its_scope_and_what_its_user_may(people: People) -> None:
    loader = people.client("loader", "manage")

    assert loader.get("/api/models/digits/").status_code == 200
    assert loader.get("/api/models/digits/versions/1/history/").status_code == 200
    assert loader.patch("/api/models/digits/", json={"description": "mine"}).status_code == 403


def test_the_keys_of_a_user_who_left_and_keys_that_ended_are_dead(portal: RunningPortal, people: People) -> None:
    leaver = people.client("leaver")
    key = ask(portal, username="admin", password=PASSWORD, name="to end").json()
    ending = Api(portal.url, key["token"])
    assert [leaver.get("/api/models/").status_code, ending.get("/api/models/").status_code] == [200, 200]

    done = portal.manage(
        "shell",
        "-c",
        "from django.contrib.auth.models import User; from django.utils import timezone\n"
        "from models_app.models import ApiKey\n"
        "User.objects.filter(username='leaver').update(is_active=False)\n"
        "ApiKey.objects.filter(name='to end').update(expires_at=timezone.now())",
    )

    assert done.returncode == 0, done.stderr
    assert [leaver.get("/api/models/").status_code, ending.get("/api/models/").status_code] == [401, 401]
    assert people.ask_for_key("leaver").status_code == 401


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "username"),
        ({"username": "admin"}, "password"),
        ({"username": ["admin"], "password": "x"}, "username"),
        ({"username": "a\x00b", "password": "x"}, "username"),
        ({"username": "admin", "password": PASSWORD, "scope": "all"}, "scope"),
        ({"username": "admin", "password": PASSWORD, "scope": ["manage"]}, "scope"),
        ({"username": "admin", "password": PASSWORD, "name": "n" * 101}, "name"),
        ({"username": "admin", "password": PASSWORD, "name": {"a": 1}}, "name"),
    ],
)
def test_a_wish_that_cannot_be_read_names_the_field(portal: RunningPortal, wish: dict[str, object], field: str) -> None:
    answer = ask(portal, **wish)

    assert answer.status_code == 400
    assert answer.json()["code"] == "validation_error"
    assert list(answer.json()["fields"]) == [field]


def test_ten_wrong_passwords_are_the_end_for_a_while_and_right_ones_do_not_count(portal: RunningPortal) -> None:
    for _ in range(11):
        assert ask(portal, username="manager-of-nothing", password="wrong", scope="nonsense").status_code == 400
    for _ in range(5):
        assert ask(portal, username="guessed", password="wrong").status_code == 401
    for _ in range(3):
        assert ask(portal, username="admin", password=PASSWORD).status_code == 201
    for _ in range(5):
        answer = ask(portal, username="guessed", password="wrong")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    throttled = ask(portal, username="guessed", password="wrong")

    assert throttled.status_code == 429
    assert throttled.json()["code"] == "throttled"
    assert 0 < int(throttled.headers["Retry-After"]) <= 300
    assert ask(portal, username="admin", password=PASSWORD).status_code == 201
