"""A load gives way to what answers: importing an engine and compiling a model take all that they get."""

from __future__ import annotations

import contextlib
import os

LOADING = 5
"""Nice value of the thread that loads, and of those that the engine starts there; Linux keeps one for each thread. With
5 a thread gets a third of what one at 0 gets, where both want the same core (sched(7))."""


def give_way() -> None:
    """Lower this thread's priority, and that of the threads that it will start."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, LOADING)
