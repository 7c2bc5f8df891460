"""The queue of a cluster, as its workers read it."""

from __future__ import annotations

from typing import Any

import pytest

from models_app import cluster
from models_app.cluster import STOP, KillSafeQueue


@pytest.fixture
def queue() -> KillSafeQueue:
    return KillSafeQueue()


def test_a_stale_task_is_passed_over_and_the_next_one_taken(
    queue: KillSafeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Any] = []
    monkeypatch.setattr(cluster, "_is_stale", lambda task: task["args"][0] < 3)
    monkeypatch.setattr(cluster, "acknowledge_at_start", lambda task: forgotten.append(task["args"][0]))
    for number in (1, 2, 3):
        queue.put({"args": (number, 0)})
    queue.put(STOP)

    assert queue.get() == {"args": (3, 0)}
    assert forgotten == [1, 2]
    assert queue.get() == STOP


def test_without_a_rule_every_task_is_taken(queue: KillSafeQueue) -> None:
    queue.put({"args": (1, 0)})

    assert queue.get() == {"args": (1, 0)}
