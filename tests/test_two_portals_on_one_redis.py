"""The queue in Redis: portals that share one server leave each other's tasks alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf

from models_app.choices import JobKind
from models_app.models import Job
from models_app.services import jobs
from tests.redis_server import redis_server
from tests.registry import make_version
from tests.running_portal import RunningPortal

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]
NAME_OF_THE_QUEUE = "from django_q.brokers import get_broker; print(get_broker('jobs').list_key)"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="portal-redis-") as folder, redis_server(Path(folder)) as url:
        yield url


@pytest.fixture(autouse=True)
def queues(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "REDIS", redis_url)
    monkeypatch.setattr(Conf, "BROKER_CLASS", "models_app.redis_broker.RedisBroker")
    get_broker("jobs").connection.flushall()


def test_what_one_process_of_a_portal_queues_another_one_finds() -> None:
    get_broker("jobs").enqueue("a task")

    assert get_broker("jobs").dequeue() == [(None, b"a task")]


def test_another_portal_takes_no_task_and_empties_no_queue() -> None:
    get_broker("jobs").enqueue("a task")

    with another_portal():
        other = get_broker("jobs")
        other.purge_queue()
        size, task = other.queue_size(), other.dequeue()

    assert (size, task) == (0, None)
    assert get_broker("jobs").queue_size() == 1


def test_a_portal_keeps_its_queue_and_a_copy_of_its_data_directory_gets_another_one(
    redis_url: str, tmp_path: Path
) -> None:
    original = RunningPortal(tmp_path / "data", REDIS_URL=redis_url)
    first, again = queue_of(original), queue_of(original)

    shutil.copytree(original.data_dir, tmp_path / "copy")
    copy = queue_of(RunningPortal(tmp_path / "copy", REDIS_URL=redis_url))

    assert first == again
    assert first.startswith("django_q:jobs:q:") and copy.startswith("django_q:jobs:q:")
    assert copy != first


def test_a_copy_at_the_same_place_of_another_host_gets_another_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as on_this_host:
        on_this_host.setitem(settings.DATABASES["default"], "HOST", "")
        here = get_broker("jobs").list_key
        with override_settings(PORTAL_NODE="another"):
            there = get_broker("jobs").list_key

    assert here != there


def test_a_lost_delivery_is_made_up_for_while_another_portal_has_much_to_do() -> None:
    Job.objects.create(kind=JobKind.CHECK, version=make_version("digits"))
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    with another_portal():
        get_broker(settings.JOBS_CLUSTER).enqueue("a task")

    jobs.dispatch_lost()

    [(_, task)] = get_broker(settings.JOBS_CLUSTER).dequeue()
    assert task != b"a task"


def another_portal() -> AbstractContextManager[None]:
    """Within this block, this process belongs to one with another key."""
    return override_settings(SECRET_KEY="another")


def queue_of(portal: RunningPortal) -> str:
    ended = portal.manage("shell", "-c", NAME_OF_THE_QUEUE)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]
