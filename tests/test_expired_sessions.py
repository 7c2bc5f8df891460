"""Sessions that have expired are removed once a day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from models_app import clusters
from models_app.services.nodes import this_node


def new_session(key: str, days: int) -> None:
    Session.objects.create(session_key=key, expire_date=timezone.now() + timedelta(days=days))


def keys() -> set[str]:
    return set(Session.objects.values_list("session_key", flat=True))


@pytest.mark.django_db
def test_the_beat_of_the_jobs_cluster_removes_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    watch: Any = clusters._JobsWatch(this_node())
    new_session("valid", 1)
    new_session("expired", -1)

    watch.beat()
    after_the_start = keys()
    new_session("expired later", -1)
    watch.beat()
    a_moment_later = keys()
    monkeypatch.setattr(clusters, "CLEAR_SESSIONS_EVERY_S", 0)
    watch.beat()

    assert after_the_start == {"valid"}
    assert a_moment_later == {"valid", "expired later"}
    assert keys() == {"valid"}
