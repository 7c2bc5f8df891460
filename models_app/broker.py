"""django-q's queue in the database, queried only when something was queued.

django-q's own broker queries the database at every poll, 1.2 ms each time, and sleeps in between: two idle clusters
took 2 % of a core, and a load waited for up to 0.1 s to be seen.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import DatabaseError, transaction
from django_q.brokers.orm import ORM
from django_q.conf import Conf

from models_app.outage import Outage
from models_app.services import notify

logger = logging.getLogger("portal.broker")
AGAIN_S = 1.0
"""After an error. django-q's own process would end with a traceback every ten seconds."""
LISTEN_S = 0.1
"""The longest wait before django-q checks again whether the cluster stops."""
LOOK_AT_LEAST_EVERY_S = 0.5
"""For tasks that notify nobody here: another machine's, and those of a stopped cluster."""


class NotifiedBroker(ORM):  # type: ignore[misc]
    """Waits for a notification; queries the database when one came or the last query is long ago."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._listener = notify.Listener(notify.TASKS)
        self._seen = b""
        self._looks_at = 0.0
        begins, ends = f"the database gives the cluster {list_key} no tasks", f"the cluster {list_key} gets tasks again"
        self._outage = Outage(logger, begins, ends)

    def enqueue(self, task: str) -> Any:
        number = super().enqueue(task)
        transaction.on_commit(lambda: notify.notify(notify.TASKS), using=Conf.ORM)
        return number

    def dequeue(self) -> list[tuple[Any, str]] | None:
        """Tasks, or None after waiting for a while, also where the database gives none."""
        self._listener.wait(self._seen, min(LISTEN_S, self._looks_at - time.monotonic()))
        token = self._listener.token()
        if token == self._seen and time.monotonic() < self._looks_at:
            return None
        self._seen = token
        try:
            found: list[tuple[Any, str]] | None = super().dequeue()
        except DatabaseError as error:
            self._outage.goes_on(error)
            time.sleep(AGAIN_S)
            return None
        self._outage.is_over()
        self._looks_at = 0.0 if found else time.monotonic() + LOOK_AT_LEAST_EVERY_S
        return found
