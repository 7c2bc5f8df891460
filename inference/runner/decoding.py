"""Threads that decode pictures. Pillow releases Python's global lock while it decodes, so several cores are used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class Decoders:
    """One thread per core that this process may use, but at least two, so that one large picture does not block others.

    Uses its own queue instead of an executor with futures, which halves the time of a small picture. An exception
    raised by a job is a bug and goes to `on_bug`.
    """

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._on_bug = on_bug

    def start(self) -> None:
        for number in range(max(2, len(os.sched_getaffinity(0)))):
            threading.Thread(target=self._work, name=f"decode{number}", daemon=True).start()

    def do(self, job: Job) -> None:
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except BaseException as bug:
                self._on_bug(bug)
            del job  # its picture and arrays would live until the next one comes
