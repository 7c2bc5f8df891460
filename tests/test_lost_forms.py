"""A form that was sent after the session had ended: after the log-in it is said, once, that nothing came of it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from portal.lost_forms import WORDS
from tests.admin_client import text_of
from tests.admin_rows import make_version

pytestmark = pytest.mark.django_db
PASSWORD = "a-password-of-ada"
VERSION = "/admin/models_app/modelversion/{pk}/"
FORMS = [
    *(f"{VERSION}change/?edit={what}" for what in ("labels", "preprocessing", "postprocessing", "options", "engine")),
    *(f"{VERSION}{verb}/" for verb in ("trust", "delete", "load", "use")),
    "/admin/models_app/modelversion/",
    "/admin/models_app/modelversion/add/",
    "/admin/auth/group/add/",
    "/admin/password_change/",
    "/try/cats/?version=1",
    "/try/cats/load/?version=1",
    "/password/",
]


@pytest.fixture
def page() -> Client:
    """Of somebody whose session has ended."""
    User.objects.create_superuser("ada", "", PASSWORD)
    make_version(labels=["a", "b", "c"])
    client = Client()
    client.login(username="ada", password=PASSWORD)
    Session.objects.all().delete()
    return client


def log_in(page: Client, address: str) -> str:
    """On the log-in page that `address` leads to; what the page after it says."""
    login, _, then = address.partition("?next=")
    assert WORDS not in text_of(page.get(address)), "it would be gone before the log-in"
    typed = {"username": "ada", "password": PASSWORD, "next": then.replace("%3F", "?").replace("%3D", "=")}
    return text_of(page.post(login, typed, follow=True))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_lost_is_said_once_after_the_log_in(page: Client, form: str) -> None:
    address = form.format(pk=make_version("dogs").pk)

    first = log_in(page, page.post(address, {"labels": "x"}).headers["Location"])
    second = text_of(page.get(address, follow=True))

    assert first.count(WORDS) == 1 and "Nothing was done." not in first
    assert WORDS not in second


def test_the_log_in_on_the_way_to_a_page_says_nothing(page: Client) -> None:
    address = VERSION.format(pk=make_version("dogs").pk) + "change/?edit=labels"

    assert WORDS not in log_in(page, page.get(address).headers["Location"])


def test_a_wrong_password_in_between_does_not_swallow_it(page: Client) -> None:
    address = page.post("/admin/auth/group/add/").headers["Location"]
    page.post("/admin/login/", {"username": "ada", "password": "wrong", "next": "/admin/"})

    assert WORDS in log_in(page, address)


def test_a_script_that_says_it_itself_leaves_nothing_to_be_said(page: Client) -> None:
    address = page.post("/try/cats/?version=1&fragment=answers").headers["Location"]

    assert WORDS not in log_in(page, address)


def test_who_logs_out_by_hand_has_lost_nothing(page: Client) -> None:
    log_in(page, "/login/?next=/admin/")
    address = page.post("/logout/").headers["Location"]

    assert WORDS not in log_in(page, f"{address}?next=/admin/")


def test_the_form_of_nobody_makes_no_session() -> None:
    Client().post("/admin/auth/group/add/")

    assert not Session.objects.exists()
