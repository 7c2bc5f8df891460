"""The queue in Redis while that is away: two lines of the log, and nobody who waits or hands out ends."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django_q.conf import Conf

from models_app import redis_broker
from models_app.redis_broker import RedisBroker
from tests.running_portal import free_port, wait_for

STAT = "a statistic", "of a cluster", 3


@contextmanager
def redis(port: int, *options: str) -> Iterator[None]:
    """A server that keeps nothing."""
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> RedisBroker:
    """Of a server that is not there yet."""
    monkeypatch.setattr(Conf, "REDIS", f"redis://127.0.0.1:{free_port()}")
    monkeypatch.setattr(redis_broker, "AGAIN_S", 0.01)
    redis_broker._outage.cache_clear()
    return RedisBroker("jobs")


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs a Redis server")
def test_an_outage_is_told_when_it_begins_and_when_it_is_over(
    queue: RedisBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), ExitStack() as stack:
        for _ in range(3):
            queue.set_stat(*STAT)
            assert queue.enqueue("is lost") is None
            assert RedisBroker("jobs").dequeue() is None
        before = [*caplog.messages]

        stack.enter_context(redis(queue.connection.connection_pool.connection_kwargs["port"]))
        wait_for(lambda: queue.enqueue("a task"), 20, "it is queued")
        found = RedisBroker("jobs").dequeue()

    assert found == [(None, b"a task")]
    assert [text.split(" connecting")[0] for text in before] == ["Redis does not answer the cluster jobs: Error 111"]
    assert caplog.messages[1:] == ["Redis answers the cluster jobs again"]
    assert not any(record.exc_info for record in caplog.records)


def test_who_asks_whether_it_is_there_says_so_itself(queue: RedisBroker, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(redis_broker.NotConnected):
        queue.ping()

    assert caplog.messages == []


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs a Redis server")
def test_a_server_that_is_full_counts_as_one_that_does_not_answer(
    queue: RedisBroker, caplog: pytest.LogCaptureFixture
) -> None:
    port = queue.connection.connection_pool.connection_kwargs["port"]
    with redis(port, "--maxmemory", "1"), caplog.at_level(logging.INFO):
        wait_for(lambda: _is_answered(queue), 20, "Redis answers")
        for _ in range(3):
            queue.set_stat(*STAT)
            assert queue.enqueue("is lost") is None
        with pytest.raises(redis_broker.Refused):
            queue.ping()

    assert [text[:50] for text in caplog.messages] == ["Redis does not answer the cluster jobs: command no"]


def _is_answered(queue: RedisBroker) -> bool:
    try:
        return bool(queue.connection.ping())
    except redis_broker.NotConnected:
        return False
