"""Waiting for what another process writes into the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1


def wait_until(look: Callable[[], T | None], wait_s: float) -> T | None:
    """What `look` answers as soon as it is not None, or None after `wait_s`. Looks at least once."""
    deadline = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while True:
        if (found := look()) is not None:
            return found
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause_s, left))
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
