"""Threads that outlive a request, each with its own database connection."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import ThreadSensitiveContext

MOST_IDLE = 32


class ThreadLender:
    """Lends each request a thread that has served before.

    Django alone gives every request a new thread, and every new thread opens the database anew. Here as many are kept
    as were needed at once, at most 32 idle ones; used by one event loop only.
    """

    def __init__(self) -> None:
        self._idle: list[ThreadPoolExecutor] = []

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
                executor.shutdown(wait=False)
