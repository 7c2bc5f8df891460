"""Threads that outlive a request, each with its own database connection."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections

MOST_IDLE = 8

P = ParamSpec("P")
T = TypeVar("T")


class ThreadLender:
    """Lends each request a thread that has served before.

    Django alone gives every request a new thread, and every new thread opens the database anew. Here as many are kept
    as were needed at once, at most eight idle ones: each holds a connection, of which PostgreSQL has a hundred for all
    processes. Used by one event loop only.
    """

    def __init__(self) -> None:
        self._idle: list[ThreadPoolExecutor] = []

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run code that uses the database, or waits, on a lent thread."""

        def guarded() -> T:
            close_old_connections()
            return work(*args, **kwargs)

        async with self.thread():
            return await sync_to_async(guarded)()

    @contextlib.asynccontextmanager
    async def thread(self) -> AsyncIterator[None]:
        """Within this block Django's synchronous code runs on one lent thread."""
        executor = self._idle.pop() if self._idle else ThreadPoolExecutor(1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=executor):
                yield
        finally:
            if len(self._idle) < MOST_IDLE:
                self._idle.append(executor)
            else:
                executor.submit(connections.close_all)
                executor.shutdown(wait=False)
