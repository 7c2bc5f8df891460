"""What moves in one process is heard by all others: at once, and only where it matters."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from models_app.choices import InstanceState
from models_app.models import Instance
from models_app.services import notify as notifications
from models_app.services.move import move
from models_app.services.notify import Listener, notify
from portal.lean.registry import Registry
from tests.registry import make_version

LONG_S = 20.0
SOON_S = 5.0


@pytest.fixture(autouse=True)
def _own_channels(settings: Any, tmp_path: Any) -> None:
    settings.PORTAL_DATA_DIR = tmp_path


def seconds_until_heard(listener: Listener) -> float:
    """Of a `wait` during which there is a notification."""
    seen = listener.token()
    threading.Timer(0.1, notify, kwargs={"subject": "digits"}).start()
    began = time.monotonic()
    listener.wait(seen, LONG_S)
    return time.monotonic() - began


def test_who_waits_hears_it_at_once() -> None:
    assert seconds_until_heard(Listener()) < SOON_S


def test_who_waits_hears_it_where_the_kernel_watches_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "_watch_file", lambda path: None)

    assert seconds_until_heard(Listener()) < SOON_S


def test_waiting_ends_without_a_notification_and_where_one_came_before() -> None:
    listener = Listener()
    silence = listener.token()
    began = time.monotonic()
    listener.wait(silence, 0.1)
    waited_s = time.monotonic() - began
    notify()
    listener.wait(silence, LONG_S)

    assert waited_s >= 0.1
    assert time.monotonic() - began < LONG_S
    listener.close()


def test_a_subject_is_heard_among_all_and_not_in_another() -> None:
    listener = Listener()
    before = listener.snapshot()
    notify(subject="digits")
    after = listener.snapshot()

    assert listener.token("digits") == after.token("digits") != before.token("digits")
    assert listener.token("cats") == after.token("cats") == before.token("cats")
    assert after.token() != before.token()


@pytest.mark.django_db(transaction=True)
def test_requests_wait_for_what_became_of_their_model_and_not_of_another() -> None:
    for name in ("digits", "cats"):
        make_version(name, InstanceState.READY)
    Instance.objects.update(socket="somewhere")
    others = Instance.objects.get(version__model__name="cats")

    async def ask() -> None:
        registry = Registry()
        readings = 0

        async def count() -> None:
            nonlocal readings
            readings += 1
            await read()

        read, registry._read = registry._read, count  # type: ignore[method-assign]
        await registry.find("digits", None)
        assert readings == 1
        await asyncio.to_thread(unload, others)
        await registry.find("digits", None)
        assert readings == 1, "another model's move was waited for"
        assert len(await registry.all_served()) == 1
        assert readings == 2
        await asyncio.to_thread(unload, others)
        await registry.find("digits", None)
        assert readings == 2, "nothing had moved"
        notify(subject="digits")
        await registry.find("digits", None)
        assert readings == 3

    asyncio.run(ask())


def unload(instance: Instance) -> None:
    move(instance, InstanceState.UNLOADING, before=[InstanceState.READY])
