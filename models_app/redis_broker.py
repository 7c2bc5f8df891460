"""django-q's queue in Redis, under a name of this portal's own, for which an outage is no news each time.

With one name for all, portals on one server took each other's tasks, and the start of one emptied the queue of another.
django-q's own told of an outage seven times a second, and whoever waited for tasks ended in a traceback and was started
again.
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
from redis.exceptions import TimeoutError as NotInTime

from models_app.outage import Outage

logger = logging.getLogger("portal.broker")
AGAIN_S = 1.0
_AWAY = (NotConnected, NotInTime)


class RedisBroker(Redis):  # type: ignore[misc]
    """What cannot be handed out is lost: the watch of each cluster finds it, and hands it out anew."""

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
        with contextlib.suppress(*_AWAY):  # `dequeue` tells, too
            super().set_stat(key, value, timeout)

    def ping(self) -> bool:
        """Raises what Redis' client raises; whoever asks says so."""
        return bool(self.connection.ping())

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
    """All processes of a portal have its key and its database in common. A copy has the same key, not the database; an
    address without a host means one of this node."""
    database = settings.DATABASES["default"]
    place = f"{database['HOST'] or settings.PORTAL_NODE}:{database['PORT']}/{database['NAME']}"
    return salted_hmac("models_app.redis_broker", place).hexdigest()[:12]


@functools.cache
def _outage(cluster: str) -> Outage:
    """One for each process: a broker lives for as long as one task is handed out."""
    return Outage(logger, f"Redis does not answer the cluster {cluster}", f"Redis answers the cluster {cluster} again")
