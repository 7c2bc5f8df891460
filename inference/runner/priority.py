"""Low priority for loading: importing an engine and compiling a model would otherwise slow down serving processes."""

from __future__ import annotations

import contextlib
import os

LOADING = 5
"""Nice value of the loading thread and of those that the engine starts there; Linux has one per thread. At 5 a thread
gets a third of the time of one at 0, if both want the same core (sched(7))."""


def give_way() -> None:
    """Lower the priority of this thread and of the threads that it will start."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, LOADING)
