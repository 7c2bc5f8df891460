"""django-q's queue in Redis, under a name of this portal's own; an outage is logged once.

With one name for all, portals on one server took each other's tasks, and the start of one emptied the queue of another.
django-q's own broker logged an outage seven times a second, and the process that waited for tasks ended with a
traceback and was restarted.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from django_q.brokers.redis_broker import Redis
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError as Refused
from redis.exceptions import TimeoutError as NotInTime

from models_app.outage import Outage

logger = logging.getLogger("portal.broker")
AGAIN_S = 1.0
_AWAY = (NotConnected, NotInTime, Refused)
"""Refused: its memory or its disk is full, or it is a replica."""


class RedisBroker(Redis):  # type: ignore[misc]
    """A task that cannot be queued is lost: the watch of each cluster (clusters.py) hands it out again."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self.list_key: str = f"{self.list_key}:{_this_portal()}"

    def enqueue(self, task: str) -> Any:
        with contextlib.suppress(*_AWAY), self._told():
            return super().enqueue(task)
        return None

    def dequeue(self) -> list[tuple[Any, str]] | None:
        try:
            with self._told():
                found: list[tuple[Any, str]] | None = super().dequeue()
                return found
        except _AWAY:
            time.sleep(AGAIN_S)
            return None

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        with contextlib.suppress(*_AWAY):  # `dequeue` logs it
            super().set_stat(key, value, timeout)

    def ping(self) -> bool:
        """Whether it takes tasks: Redis answers a ping also where it is full, or a replica. Raises what its client
        raises; the caller reports it."""
        return bool(self.connection.set(f"{self.list_key}:ping", 1, ex=60))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        outage = _outage(self.list_key.split(":")[1])
        try:
            yield
        except _AWAY as error:
            outage.goes_on(error)
            raise
        outage.is_over()


def _this_portal() -> str:
    """A hash of what all processes of a portal share: secret key and database. A copied portal has the same key, but
    another database; an address without a host means this node."""
    database = settings.DATABASES["default"]
    place = f"{database['HOST'] or settings.PORTAL_NODE}:{database['PORT']}/{database['NAME']}"
    return salted_hmac("models_app.redis_broker", place).hexdigest()[:12]


@functools.cache
def _outage(cluster: str) -> Outage:
    """One for each process, because a broker object lives only while one task is dispatched."""
    return Outage(logger, f"Redis does not answer the cluster {cluster}", f"Redis answers the cluster {cluster} again")
