"""Who computes gives way to who answers: requests are read, refused and answered at once however busy the cores are."""

from __future__ import annotations

import contextlib
import os

COMPUTING = 5
"""Nice value of the threads that load, decode and run; Linux keeps one for each thread. With 5 a thread gets a third of
what one at 0 gets, where both want the same core (sched(7))."""


def give_way() -> None:
    """Lower this thread's priority, and that of the threads that it will start."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, COMPUTING)
