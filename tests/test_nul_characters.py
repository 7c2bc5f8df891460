"""A NUL in what somebody asks for is found nowhere, and reaches no statement: PostgreSQL refuses it with an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from inference.errors import NotAuthenticated, NotFound, ValidationFailed
from models_app.choices import InstanceState
from models_app.services import find
from models_app.services.trust import trust
from portal.lean.uploads import _authorise
from tests.admin_client import client_with
from tests.registry import make_version

pytestmark = pytest.mark.django_db
NAME = "dig\x00its"


@pytest.fixture(autouse=True)
def statements() -> Iterator[list[str]]:
    """Those that were run, each looked at for a NUL."""
    seen: list[str] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        assert not any("\x00" in str(value) for value in params or ()), sql
        seen.append(sql)
        return execute(sql, params, many, context)

    make_version("digits", InstanceState.READY)
    with connection.execute_wrapper(look):
        yield seen


@pytest.mark.parametrize(
    "ask",
    [
        find.find_model,
        find.newest_ready,
        lambda name: find.find_version(name, 1),
        lambda name: find.loaded_version(name, None),
        lambda name: find.loaded_version(name, 1),
    ],
    ids=["model", "newest", "version", "loaded", "loaded version"],
)
def test_no_model_has_it_in_its_name(ask: Callable[[str], object]) -> None:
    ask("digits")

    with pytest.raises(NotFound, match="There is no model called"):
        ask(NAME)
    assert not find.exists(NAME)


@pytest.mark.parametrize(
    "address",
    [
        "/admin/models_app/modelversion/?q=%00",
        "/admin/models_app/modelversion/?q=dig%00its&fragment=rows",
        "/admin/models_app/job/?kind=%00",
        "/admin/models_app/job/?state=%00&q=%00",
        "/admin/models_app/transition/?after=%00",
        "/api/models/?search=dig%00its",
        "/admin/models_app/modelversion/?q=%%0000",
        "/api/models/?search=%0%00%000",
    ],
)
def test_a_query_is_read_without_it(admin_client: Client, address: str, statements: list[str]) -> None:
    answer = admin_client.get(address, follow=True)

    assert answer.status_code == 200
    if "its" in address:
        assert "digits" in answer.content.decode()
    assert statements


@pytest.mark.parametrize("escape", [r"\000", r"\0\00000"])
def test_a_cookie_is_read_without_it(client: Client, escape: str, statements: list[str]) -> None:
    cookie = f'sessionid="{escape}0123456789"'
    headers = [(b"host", b"localhost"), (b"cookie", cookie.encode())]
    scope = {"type": "http", "method": "POST", "path": "/api/models/", "query_string": b"", "headers": headers}

    assert client.get("/try/", HTTP_COOKIE=cookie).status_code == 302
    with pytest.raises(NotAuthenticated):
        _authorise(scope, ())
    assert any("django_session" in statement for statement in statements)


def test_a_cookie_full_of_escapes_takes_no_time(client: Client) -> None:
    began = time.monotonic()

    answer = client.get("/login/", HTTP_COOKIE='a="' + "\\" * 60_000 + '"')

    assert (answer.status_code, time.monotonic() - began < 5) == (200, True)


def test_the_form_for_a_next_version_of_such_a_name_is_empty() -> None:
    answer = client_with("add").get("/admin/models_app/modelversion/add/?name=cats%00")

    assert answer.status_code == 200 and "is set up" not in answer.content.decode()


@pytest.mark.parametrize("reason", ["I made\x00it.", " ", None, "a" * 1001])
def test_no_file_is_trusted_for_what_is_no_reason(reason: object) -> None:
    version = find.find_version("digits", 1)

    with pytest.raises(ValidationFailed, match="Say in at most 1000 characters why"):
        trust(version, reason, by=None)
