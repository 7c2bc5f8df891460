"""Threads that outlive a request, each with its own database connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections, connections

MOST_IDLE = 8

P = ParamSpec("P")
T = TypeVar("T")


class ThreadLender:
    """Lends each request a thread that has served before.

    Django alone gives every request a new thread, and every new thread opens a new database connection. Here at most
    eight idle threads are kept: each holds a connection, of which PostgreSQL has a hundred for all processes. Used by
    one event loop only.
    """

    def __init__(self) -> None:
        self._idle: list[_Thread] = []

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
        executor = self._idle.pop() if self._idle else _Thread()
        try:
            async with ThreadSensitiveContext(executor=executor):
                yield
        finally:
            if executor.is_busy:
                executor.submit(asyncio.get_running_loop().call_soon_threadsafe, self._take_back, executor)
            else:
                self._take_back(executor)

    def _take_back(self, executor: _Thread) -> None:
        if len(self._idle) < MOST_IDLE:
            self._idle.append(executor)
        else:
            executor.submit(connections.close_all)
            executor.shutdown(wait=False)


class _Thread(ThreadPoolExecutor):
    """One thread that says whether it is busy: its work goes on where the request was cancelled."""

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="request")
        self._unfinished: set[Future[Any]] = set()

    @property
    def is_busy(self) -> bool:
        return bool(self._unfinished)

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = super().submit(work, *args, **kwargs)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future
