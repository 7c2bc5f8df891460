"""Transactions that overlap, which SQLite's never do: run on PostgreSQL by tests/test_postgresql.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction

from models_app.choices import InstanceState
from models_app.models import Instance
from models_app.services.unload import unload
from tests.registry import make_version

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="its transactions never overlap"),
]


@contextmanager
def meanwhile(change: Callable[[], object]) -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Gives `start(work)`, which starts something that meets `change` made but not yet committed; at the end of the
    block it is committed."""
    with ThreadPoolExecutor(1) as workers:
        started = Event()

        def run(work: Callable[[], Any]) -> Any:
            try:
                connection.ensure_connection()
                started.set()
                return work()
            finally:
                connection.close()

        with transaction.atomic():
            change()

            def start(work: Callable[[], Any]) -> Future[Any]:
                future = workers.submit(run, work)
                assert started.wait(20)
                with pytest.raises(TimeoutError):  # it waits for us
                    future.result(0.5)
                return future

            yield start


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (InstanceState.LOADING, InstanceState.READY),
        (InstanceState.RESTARTING, InstanceState.LOADING),
        (InstanceState.READY, InstanceState.QUEUED),
        (InstanceState.QUEUED, InstanceState.LOADING),
    ],
)
def test_an_unload_is_not_lost_where_the_owner_moves_the_instance(before: InstanceState, after: InstanceState) -> None:
    version = make_version("cats", before)
    row = Instance.objects.filter(version=version)

    with meanwhile(lambda: row.update(state=after)) as start:
        asked = start(lambda: unload([version], by=None, wait_s=0))
    asked.result(20)

    assert row.get().state in {InstanceState.UNLOADING, InstanceState.STOPPED}
