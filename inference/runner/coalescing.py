"""Passes ended calls from the engine's threads to the event loop that answers them; under load several at a time.

A model fills the CPU caches, so after it the loop, the web process and the client take three to six times as long for a
single answer as for one that directly follows another (docs/adr/0018). So while each of the engine's threads has its
next call waiting, ended calls are held back for a moment, as a network card gathers packets for one interrupt.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from inference.runner.calls import Call

MOST_CALLS = 8
MOST_S = 0.025
"""The longest that calls are gathered; a call that itself took longer than this is answered immediately."""
SHARE_OF_WAIT = 0.4
"""And they are gathered for at most this share of the time that the first request waited in the queue."""
LONGEST_S = 0.05
"""After this the loop takes ended calls even if the next call, which would trigger that, still runs."""


class Coalescer:
    """`add` is called by the engine's threads, `take` by the event loop's thread."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._until = 0.0

    def add(self, call: Call, *, is_saturated: bool) -> bool:
        """Store an ended call. Returns whether the loop should take all stored calls now, or wait for a later one."""
        now = time.monotonic()
        if not self._calls:
            waited_s = now - call.seconds - call.parts[0].work.queued_at
            self._until = now + min(MOST_S, SHARE_OF_WAIT * waited_s)
        self._calls.append(call)
        is_full = len(self._calls) >= MOST_CALLS
        return not is_saturated or is_full or now >= self._until or call.seconds > MOST_S

    def take(self) -> Iterator[Call]:
        """Remove and yield the stored calls, oldest first."""
        while self._calls:
            yield self._calls.popleft()
