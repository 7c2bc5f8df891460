"""The keys that a web process knows: what their users may do, read for all at once, kept fresh whatever goes wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import InterfaceError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from models_app.models import ApiKey
from models_app.services.keys import create_key, hash_of_secret, read_known_keys
from portal.lean import registry
from portal.lean.registry import Registry
from tests.refused_writes import refused

SOON_S = 20.0


def make_person(name: str = "ada", *verbs: str, **fields: Any) -> User:
    """Without a password: hashing one takes longer than all else here."""
    user = User.objects.create(username=name, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{verb}_modelversion" for verb in verbs]))
    return user


def key_of(user: User) -> str:
    return create_key(user, name="k", scope="manage")[1]


def known_hash(secret: str) -> str:
    known = hash_of_secret(secret)
    assert known is not None
    return known


def make_crowd(count: int, prefix: str) -> list[str]:
    """Hashes of keys: of users with rights of their own, of their group's, with both, none and all."""
    loaders, _ = Group.objects.get_or_create(name="loaders")
    loaders.permissions.set(Permission.objects.filter(codename__in=["load_modelversion", "add_group"]))
    users = []
    for number in range(count):
        own, ours = make_person(f"{prefix}-own{number}", "predict", "view"), make_person(f"{prefix}-group{number}")
        both, none = make_person(f"{prefix}-both{number}", "predict"), make_person(f"{prefix}-none{number}")
        ours.groups.add(loaders)
        both.groups.add(loaders)
        users += [own, ours, both, none, make_person(f"{prefix}-all{number}", is_superuser=True)]
    return [known_hash(key_of(user)) for user in users]


@pytest.mark.django_db
def test_users_may_what_django_says_that_they_may() -> None:
    hashes = make_crowd(1, "a")
    gone = make_person("gone", "predict", is_active=False)

    known = read_known_keys([*hashes, known_hash(key_of(gone))])

    assert set(known) == set(hashes)
    for key in known.values():
        rights = User.objects.get(pk=key.user_pk).get_all_permissions()
        assert key.permissions == {right for right in rights if right.startswith("models_app.")}


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_the_users() -> None:
    few = make_crowd(1, "a")
    many = [*few, *make_crowd(3, "b")]

    with CaptureQueriesContext(connection) as for_few:
        read_known_keys(few)
    with CaptureQueriesContext(connection) as for_many:
        read_known_keys(many)

    print(f"{len(for_many)} queries for {len(many)} users")
    assert len(for_many) == len(for_few) <= 4


@pytest.mark.django_db(transaction=True)
def test_the_key_that_was_not_used_for_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_KEYS", 2)
    user = make_person()
    first, second, third = (key_of(user) for _ in range(3))

    async def use_them() -> list[int]:
        keys = Registry()
        for secret in (first, second, first, third):
            assert await keys.find_key(secret) is not None
        return [await queries_of(keys, secret) for secret in (first, third, second)]

    assert asyncio.run(use_them()) == [0, 0, 1]


async def queries_of(keys: Registry, secret: str) -> int:
    """How often the database was asked for the key."""
    asked = 0

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal asked
        asked += "secret_hash" in sql
        return execute(sql, *rest)

    await on_its_thread(keys, lambda: connection.execute_wrappers.append(count))
    assert await keys.find_key(secret) is not None
    await on_its_thread(keys, lambda: connection.execute_wrappers.remove(count))
    return asked


async def on_its_thread(keys: Registry, work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(keys._thread, work)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [InterfaceError("the connection is closed"), RuntimeError("nobody expects this")])
def test_a_key_taken_away_is_noticed_after_an_error_of_any_kind(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    secret = key_of(make_person())
    failures = 0

    def fail_once(execute: Callable[..., Any], *given: Any) -> Any:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise error
        return execute(*given)

    async def use_it() -> float:
        keys = Registry()
        assert await keys.find_key(secret) is not None
        await on_its_thread(keys, lambda: connection.execute_wrappers.append(fail_once))
        keys.start()
        while not failures:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(take_all_keys_away)
        began = time.monotonic()
        while await keys.find_key(secret) is not None and time.monotonic() - began < SOON_S:
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    with caplog.at_level(logging.WARNING, "portal.registry"):
        seconds = asyncio.run(use_it())

    print(f"noticed after {seconds:.2f} s")
    assert seconds < SOON_S
    is_told = [record.exc_info is not None for record in caplog.records if record.name == "portal.registry"]
    assert is_told == ([True] if isinstance(error, RuntimeError) else [])


@pytest.mark.django_db(transaction=True)
def test_uses_that_cannot_be_noted_are_not_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    with refused("models_app_apikey", times=1) as asked:
        registry._note_uses({1})

    assert asked and caplog.messages == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_told_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    asked = 0

    def refuse(*given: Any) -> Any:
        nonlocal asked
        asked += 1
        raise OperationalError("the server is away")

    async def go_through_it() -> None:
        keys = Registry()
        await on_its_thread(keys, lambda: connection.execute_wrappers.append(refuse))
        for _ in range(3):
            await keys.all_served()
        await on_its_thread(keys, lambda: connection.execute_wrappers.remove(refuse))
        await keys.all_served()

    with caplog.at_level(logging.WARNING, "portal.registry"):
        asyncio.run(go_through_it())

    assert asked > 2
    assert caplog.messages == [
        "what is loaded cannot be read; going on with what is known: the server is away",
        "what is loaded can be read again",
    ]


@pytest.mark.django_db(transaction=True)
def test_who_was_stopped_begins_again_with_the_next_request() -> None:
    async def stop_and_start() -> bool:
        keys = Registry()
        keys.start()
        assert keys._keeping is not None
        keys._keeping.cancel()
        await asyncio.wait({keys._keeping})
        keys.start()
        return not keys._keeping.done()

    assert asyncio.run(stop_and_start())


def take_all_keys_away() -> None:
    ApiKey.objects.all().delete()
    connection.close()
