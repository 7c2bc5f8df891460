"""The queue in the database: seen at once when something is queued, and not asked for when nothing was."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.db import transaction
from django_q.conf import Conf

from models_app import broker
from models_app.broker import NotifiedBroker
from tests.refused_writes import refused

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> NotifiedBroker:
    settings.PORTAL_DATA_DIR = tmp_path
    monkeypatch.setattr(Conf, "POLL", 0.001)
    return NotifiedBroker("a-cluster")


def test_what_is_queued_is_found_by_the_next_poll(queue: NotifiedBroker) -> None:
    assert queue.dequeue() is None
    number = queue.enqueue("a task")

    assert queue.dequeue() == [(number, "a task")]


def test_the_database_is_not_asked_while_nothing_was_queued(
    queue: NotifiedBroker, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "LOOK_AT_LEAST_EVERY_S", 60)
    queue.dequeue()
    with django_assert_num_queries(0):
        for _ in range(20):
            assert queue.dequeue() is None


def test_what_another_machine_queued_is_found_a_little_later(queue: NotifiedBroker) -> None:
    queue.dequeue()
    super(NotifiedBroker, queue).enqueue("from elsewhere")  # its notification is not for this machine
    deadline = time.monotonic() + 5
    while (found := queue.dequeue()) is None:
        assert time.monotonic() < deadline

    assert found[0][1] == "from elsewhere"


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(
    queue: NotifiedBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broker, "AGAIN_S", 0.01)
    number = queue.enqueue("a task")

    with refused("django_q_ormq", times=3):
        found = [queue.dequeue() for _ in range(4)]

    assert found == [None, None, None, [(number, "a task")]]
    assert caplog.messages == [
        "the database gives the cluster a-cluster no tasks: database is locked",
        "the cluster a-cluster gets tasks again",
    ]


def test_the_notification_comes_when_the_task_can_be_seen(queue: NotifiedBroker) -> None:
    silence = queue._listener.token()
    with transaction.atomic():
        queue.enqueue("not before it is committed")
        inside = queue._listener.token()

    assert inside == silence
    assert queue._listener.token() != silence
    assert queue.dequeue()
