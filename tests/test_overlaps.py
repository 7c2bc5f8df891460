"""Transactions that overlap, which SQLite's never do: run on PostgreSQL by tests/test_postgresql.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.db import connection, transaction

from inference.errors import NotFound
from models_app.choices import InstanceState
from models_app.models import Instance, ModelVersion, RegisteredModel, Transition
from models_app.services import files
from models_app.services.database_retry import without_waiting
from models_app.services.delete import delete_model
from models_app.services.unload import unload
from models_app.services.upload import VersionSettings, create_version
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


def test_an_upload_that_meets_the_deletion_of_its_model_finds_none(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_UPLOADS_DIR = settings.PORTAL_FILES_DIR = tmp_path
    version = make_version("cats")
    received = files.receive_bytes(b"a model", "model.keras")

    with meanwhile(lambda: delete_model(version.model, by=None)) as start:
        asked = start(lambda: create_version("cats", received, VersionSettings(), by=None))

    with pytest.raises(NotFound, match="cats"):
        asked.result(20)
    assert not list(tmp_path.iterdir())


def test_a_deletion_that_meets_an_upload_takes_its_version_along() -> None:
    version = make_version("cats")

    def upload() -> None:
        RegisteredModel.objects.select_for_update().get()
        make_version("cats")

    with meanwhile(upload) as start:
        asked = start(lambda: delete_model(version.model, by=None))
    asked.result(20)

    assert not ModelVersion.objects.exists()
    assert sorted(Transition.objects.filter(after="deleted").values_list("version_number", flat=True)) == [1, 2]


def test_what_can_wait_does_not_wait_for_a_row_that_is_held() -> None:
    make_version("cats")
    rows = ModelVersion.objects.all()

    def report() -> float:
        began = time.monotonic()
        without_waiting(lambda: rows.update(notes=["later"]))
        return time.monotonic() - began

    with ThreadPoolExecutor(1) as workers, transaction.atomic():
        rows.update(notes=["now"])
        took_s = workers.submit(report).result(20)

    assert took_s < 2
    assert rows.get().notes == ["now"]
