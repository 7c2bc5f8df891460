"""Waiting for what another process writes into the database."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from models_app.services.notify import Listener

T = TypeVar("T")
_LOOK_AT_LEAST_EVERY_S = 0.25
"""For what notifies nobody here: another machine's moves, the end of a check."""
_are_over = threading.Event()


def end_waits() -> None:
    """From now on nobody waits in this process: it was asked to stop, and what a request waits for may take minutes."""
    _are_over.set()


def wait_until(look: Callable[[], T | None], wait_s: float) -> T | None:
    """What `look` answers as soon as it is not None, or None after `wait_s` or `end_waits`. Looks at least once.

    Looks again when an instance has moved, not all the time: a look takes milliseconds that predictions wait for.
    """
    deadline = time.monotonic() + wait_s
    with contextlib.closing(Listener()) as listener:
        while True:
            seen = listener.token()
            if (found := look()) is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or _are_over.is_set():
                return None
            listener.wait(seen, min(left, _LOOK_AT_LEAST_EVERY_S))
