"""Ended calls on their way from the engine's threads to the loop that answers them: in a crowd several at once.

Whatever runs after a model finds the caches filled by it: the loop, the web and the client take three to six times as
long for an answer by itself as for one behind another (docs/adr/0018). So while each of the engine's threads has its
next call waiting, ended ones are gathered for a moment, as a network card gathers packets for one interrupt.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from inference.runner.batching import Call

MOST_CALLS = 8
MOST_S = 0.025
"""So long an answer is kept at most; a call that takes longer by itself is answered at once."""
SHARE_OF_WAIT = 0.4
"""And at most this much of the time that its request has waited in the queue."""
LONGEST_S = 0.05
"""After this the loop takes it even if the call that was to take it along still runs."""


class Gathering:
    """`add` is called by the engine's threads, `take` by the loop's."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._until = 0.0

    def add(self, call: Call, *, is_crowded: bool) -> bool:
        """Keep an ended call. Whether the loop is to take all that are here now; if not, one that ends soon says so."""
        now = time.monotonic()
        if not self._calls:
            waited_s = now - call.seconds - call.parts[0].work.queued_at
            self._until = now + min(MOST_S, SHARE_OF_WAIT * waited_s)
        self._calls.append(call)
        is_full = len(self._calls) >= MOST_CALLS
        return not is_crowded or is_full or now >= self._until or call.seconds > MOST_S

    def take(self) -> Iterator[Call]:
        """What is here, the oldest first."""
        while self._calls:
            yield self._calls.popleft()
