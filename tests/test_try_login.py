"""The portal's own login: for everybody with an account, and slow for those who guess."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from models_app.services.throttle import note_failure
from tests.admin_client import client_with
from tests.registry import make_user, make_version

pytestmark = pytest.mark.django_db
IN_ADMIN = "/admin/password_change/"


def log_in(client: Client, password: str, name: str = "ada", then: str = "/try/") -> Any:
    return client.post("/login/", {"username": name, "password": password, "next": then})


def change_password(client: Client, old: str, address: str = "/password/") -> Any:
    typed = "a-longer-password-than-before"
    return client.post(address, {"old_password": old, "new_password1": typed, "new_password2": typed})


def test_a_person_without_staff_rights_comes_in_and_leaves(client: Client) -> None:
    make_version("digits")
    make_user("ada", "predict")

    entered = log_in(client, "a-password-of-ada", then="/try/digits/")
    page = client.get("/try/digits/")
    left = client.post("/logout/")

    assert (entered.status_code, entered["Location"]) == (302, "/try/digits/")
    assert page.status_code == 200 and 'action="/logout/"' in page.content.decode()
    assert (left.status_code, left["Location"]) == (302, "/login/")
    assert client.get("/try/").status_code == 302


def test_nobody_is_sent_elsewhere_after_the_login(client: Client) -> None:
    make_user("ada", "predict")

    assert log_in(client, "a-password-of-ada", then="https://elsewhere.example/")["Location"] == "/"


@pytest.mark.parametrize("then", ["", "/", "/try/"])
def test_staff_who_may_not_ask_go_to_the_wall(client: Client, then: str) -> None:
    make_user("ada", "view", is_staff=True)

    entered = log_in(client, "a-password-of-ada", then=then)

    assert entered["Location"] == "/admin/"
    assert 'href="/admin/">To the wall' in client.get("/try/").content.decode()


def test_where_staff_wanted_to_go_stays(client: Client) -> None:
    make_user("ada", "view", is_staff=True)

    assert log_in(client, "a-password-of-ada", then="/try/digits/")["Location"] == "/try/digits/"


def test_a_wrong_password_is_answered_with_a_sentence(client: Client) -> None:
    make_user("ada")

    response = log_in(client, "guess")

    assert response.status_code == 200
    assert "The user name or the password is wrong." in response.content.decode()


def test_after_ten_wrong_passwords_even_the_right_one_waits(client: Client) -> None:
    make_user("ada", "predict")
    make_user("grace", "predict")
    for _ in range(10):
        log_in(client, "guess")

    refused, other = log_in(client, "a-password-of-ada"), log_in(client, "a-password-of-ada", name="grace")

    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "Too many wrong passwords." in refused.content.decode()
    assert other.status_code == 302


def test_right_passwords_are_not_counted(client: Client) -> None:
    make_user("ada", "predict")

    codes = []
    for _ in range(11):
        codes.append(log_in(client, "a-password-of-ada").status_code)
        client.post("/logout/")

    assert set(codes) == {302}


def test_a_person_without_staff_rights_changes_the_password_and_ends_the_other_sessions(client: Client) -> None:
    make_version("digits")
    make_user("ada", "predict")
    elsewhere, typed = Client(), "a-longer-password-than-before"
    for one in (client, elsewhere):
        log_in(one, "a-password-of-ada")
    new = {"old_password": "a-password-of-ada", "new_password1": typed, "new_password2": typed}

    link = 'href="/password/"' in client.get("/try/").content.decode()
    refused = client.post("/password/", {**new, "old_password": "guess"})
    changed = client.post("/password/", new, follow=True)

    assert link and refused.status_code == 200 and "entered incorrectly" in refused.content.decode()
    assert changed.redirect_chain == [("/password/", 302)]
    assert "Your password was changed." in changed.content.decode()
    assert client.get("/try/").status_code == 200
    assert elsewhere.get("/try/").status_code == 302
    assert log_in(elsewhere, "a-password-of-ada").status_code == 200
    assert log_in(elsewhere, typed).status_code == 302


def test_staff_change_the_password_as_the_admin_asks_for_it(client: Client) -> None:
    client.force_login(make_user("ada", "predict", is_staff=True))

    refused = change_password(client, "guess", IN_ADMIN)
    changed = change_password(client, "a-password-of-ada", IN_ADMIN)

    assert refused.status_code == 200 and "entered incorrectly" in refused.content.decode()
    assert (changed.status_code, changed["Location"]) == (302, "/password/")


@pytest.mark.parametrize("address", ["/password/", IN_ADMIN])
def test_the_old_password_is_guessed_ten_times_and_no_more(client: Client, address: str) -> None:
    client.force_login(make_user("ada", "predict", is_staff=True))
    for _ in range(9):
        note_failure("ada", "127.0.0.1")

    tenth = change_password(client, "guess", address)
    refused = change_password(client, "a-password-of-ada", address)

    assert tenth.status_code == 200
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "Too many wrong passwords." in refused.content.decode()
    assert log_in(Client(), "a-password-of-ada").status_code == 429


def test_a_strange_form_or_nobody_changes_no_password() -> None:
    strict, ada = Client(enforce_csrf_checks=True), make_user("ada")
    strict.force_login(ada)
    typed = "a-longer-password-than-before"
    new = {"old_password": "a-password-of-ada", "new_password1": typed, "new_password2": typed}

    assert strict.post("/password/", new).status_code == 403
    assert Client().post("/password/", new)["Location"] == "/login/?next=/password/"
    ada.refresh_from_db()
    assert ada.check_password("a-password-of-ada")


@pytest.mark.parametrize(("own", "of_the_admin"), [("/login/", "/admin/login/"), ("/password/", IN_ADMIN)])
def test_the_admin_has_the_same_page(client: Client, own: str, of_the_admin: str) -> None:
    if own == "/password/":
        client.force_login(make_user("ada", is_staff=True))

    pages = [re.sub(r'value="[^"]*"', "", client.get(address).content.decode()) for address in (own, of_the_admin)]

    assert pages[0] == pages[1]
    assert pages[0].count("<h1>") == 1


@pytest.mark.parametrize(("address", "home"), [("/login/", "/"), ("/admin/login/", "/admin/")])
def test_who_is_logged_in_is_led_on_from_the_log_in_wherever_it_should_lead(
    client: Client, address: str, home: str
) -> None:
    client.force_login(make_user("ada", "predict", is_staff=True))

    leads = [client.get(address, {"next": then})["Location"] for then in ("", address, IN_ADMIN)]

    assert leads == [home, home, IN_ADMIN]


def test_djangos_page_after_a_changed_password_leads_to_the_portals() -> None:
    response = client_with("view").get("/admin/password_change/done/")

    assert (response.status_code, response["Location"]) == (302, "/password/")
