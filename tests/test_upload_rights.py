"""Who may not upload is told so before the file comes, in words that fit a person with a session or a program."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from inference.errors import NotAuthenticated, PermissionRefused
from models_app.rights import ADD, ADD_MODEL, LOAD
from portal.lean.uploads import _authorise
from tests.admin_client import client_with

pytestmark = pytest.mark.django_db
TOKEN = "t" * 32


def authorise(client: Client, *permissions: str, path: str = "/api/models/") -> None:
    """As the form in the browser sends it: the session, and the token as cookie and header."""
    session = client.cookies[settings.SESSION_COOKIE_NAME].value if client.cookies else ""
    cookies = f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={TOKEN}"
    headers = [(b"host", b"localhost"), (b"cookie", cookies.encode()), (b"x-csrftoken", TOKEN.encode())]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    _authorise(scope, permissions)


def test_who_may_add_versions_only_is_told_what_the_account_may() -> None:
    client = client_with("add")

    authorise(client, ADD)
    with pytest.raises(PermissionRefused, match="may add versions to models that exist, but no new models"):
        authorise(client, ADD_MODEL)


def test_who_may_only_look_is_told_whom_to_ask() -> None:
    with pytest.raises(PermissionRefused, match="Your account may not upload models"):
        authorise(client_with(), ADD)


def test_who_may_not_load_hears_it_before_the_file_that_is_to_be_loaded() -> None:
    with pytest.raises(PermissionRefused, match="may upload models, but not load them"):
        authorise(client_with("add"), ADD, LOAD, path="/api/model/")


def test_who_is_logged_out_is_not_known(client: Client) -> None:
    with pytest.raises(NotAuthenticated):
        authorise(client, ADD)
