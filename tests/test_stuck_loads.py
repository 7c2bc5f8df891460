"""Loads that nobody takes up although a slot is free: handed out anew, and then the cluster is started again."""

from __future__ import annotations

from typing import Any

import pytest

from models_app import clusters, queue
from models_app.choices import InstanceState
from models_app.models import Instance
from models_app.services.nodes import this_node
from tests.refused_writes import refused
from tests.registry import make_version

pytestmark = pytest.mark.django_db


class Ended(Exception):
    """In the place of the end of this process."""


@pytest.fixture
def beat(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """One look after the other, as if ten seconds lay between."""

    def end(code: int) -> None:
        raise Ended

    settings.PORTAL_SLOTS = 8
    monkeypatch.setattr(clusters, "STUCK_AFTER_S", 0.0)
    monkeypatch.setattr(clusters.os, "_exit", end)
    make_version("cats", InstanceState.QUEUED)
    return clusters._Watch(this_node()).beat


def test_a_cluster_that_takes_nothing_up_is_started_again(beat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "is_there", lambda cluster: True)

    beat()
    assert Instance.objects.get().generation == 2, "handed out anew"
    with pytest.raises(Ended):
        beat()


def test_while_the_broker_is_away_what_is_loaded_goes_on(beat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "is_there", lambda cluster: False)

    for _ in range(5):
        beat()

    assert Instance.objects.get().generation == 1


def test_a_fresh_worker_does_not_end_because_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place would be taken by the next one at once, again and again."""
    monkeypatch.setattr(clusters, "skip_stale", lambda is_stale: None)
    with refused("models_app_node", times=1):
        clusters._recover("django_q")
