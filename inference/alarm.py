"""One timer of an event loop for any number of moments."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Rings at the earliest moment that was asked for, then at none until it is asked again.

    Deadlines are hardly ever reached, and those of later requests are later: to ask for a moment after the one that is
    set costs a comparison, where a timer for each request costs more than a small model takes. Nothing wakes the
    process while nobody waits: twenty idle runners that looked every 50 ms took 6 % of a core.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Ring at this moment of the running loop's clock, in seconds, or before."""
        if at >= self._at:
            return
        self.stop()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._rings)

    def stop(self) -> None:
        """Ring at no moment."""
        if self._timer is not None:
            self._timer.cancel()
        self._at, self._timer = math.inf, None

    def _rings(self) -> None:
        self._at, self._timer = math.inf, None
        self._ring()
