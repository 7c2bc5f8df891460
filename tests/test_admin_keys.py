"""Keys in the admin: shown once, one's own, ended by deleting."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from models_app.models import ApiKey
from models_app.services.keys import create_key, find_key
from tests.admin_rows import make_staff, make_superuser

pytestmark = pytest.mark.django_db
KEYS = "/admin/models_app/apikey/"


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_new_key_is_shown_once_and_works() -> None:
    client = logged_in(make_staff("view"))

    first = client.post(f"{KEYS}add/", {"name": "<b>mine</b>", "scope": "predict", "lifetime": "30"}, follow=True)
    again = client.get(KEYS)

    found = re.search(r"mp_[\w-]{20,}", first.content.decode())
    assert found is not None and find_key(found[0]) == ApiKey.objects.get()
    assert "<b>mine" not in first.content.decode()
    assert found[0] not in again.content.decode()


def test_staff_see_and_delete_their_own_keys_only() -> None:
    ada, grace = make_staff(name="ada"), make_staff(name="grace")
    own, _ = create_key(ada, name="own key")
    foreign, _ = create_key(grace, name="foreign key")
    client = logged_in(ada)

    page = client.get(KEYS).content.decode()
    client.post(f"{KEYS}{foreign.pk}/delete/", {"post": "yes"})
    client.post(f"{KEYS}{own.pk}/delete/", {"post": "yes"})

    assert "own key" in page and "foreign key" not in page
    assert list(ApiKey.objects.all()) == [foreign]


def test_superusers_see_all_keys() -> None:
    create_key(make_staff(), name="somebody's key")

    assert "somebody&#x27;s key" in logged_in(make_superuser()).get(KEYS).content.decode()
