"""When a runner that ended is started again, and when no more."""

from __future__ import annotations

from collections import deque
from enum import Enum

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
MOST_FAILED_STARTS = 5
FAILED_STARTS_WITHIN_S = 600.0
MOST_CRASHES = 3
CRASHES_WITHIN_S = 60.0
STEADY_S = 30.0


class End(Enum):
    """How a runner ended."""

    UNUSABLE = "said that the model cannot be loaded"
    OUT_OF_MEMORY = "took more memory than there was or than it may, before it was ready"
    TOO_SLOW = "was not ready within its limit"
    FAILED_TO_START = "ended before it was ready"
    CRASHED = "ended by itself, by a signal other than SIGKILL, or for a limit of memory or time"
    KILLED = "killed from outside when it was ready"


NEVER_AGAIN = frozenset({End.UNUSABLE, End.OUT_OF_MEMORY, End.TOO_SLOW})
"""Another try would end in the same way."""


class RestartPolicy:
    """Counts ends; times are passed in, so that no clock is needed.

    Failures before ready: 1, 2, 4 … 60 s apart, at most 5 in 10 minutes; no other try where the model cannot be loaded
    or was not ready within the limit of a load. Crashes of a ready model: the first is started
    again at once, then with the same back-off, at most 3 in a minute. A kill from outside is never counted. 30 s ready
    bring the back-off back to its start.
    """

    def __init__(self) -> None:
        self._failed_starts: deque[float] = deque()
        self._crashes: deque[float] = deque()
        self._crashes_in_a_row = 0

    def delay_s(self, end: End, now: float) -> float | None:
        """Seconds before the next start; None: not again."""
        if end in NEVER_AGAIN:
            return None
        if end is End.KILLED:
            return 0.0
        if end is End.FAILED_TO_START:
            count = _remember(self._failed_starts, now, FAILED_STARTS_WITHIN_S)
            return None if count >= MOST_FAILED_STARTS else _back_off(count)
        self._crashes_in_a_row += 1
        if _remember(self._crashes, now, CRASHES_WITHIN_S) >= MOST_CRASHES:
            return None
        return 0.0 if self._crashes_in_a_row == 1 else _back_off(self._crashes_in_a_row - 1)

    def ready_for(self, seconds: float) -> None:
        """The model has been ready for so long."""
        if seconds > STEADY_S:
            self._crashes_in_a_row = 0
            self._failed_starts.clear()

    def announce(self, end: End, delay_s: float) -> str:
        """The sentence that follows the reason: "Next try in 2 s, try 3 of 5."."""
        if delay_s == 0:
            return "It is started again now."
        of = f", try {len(self._failed_starts) + 1} of {MOST_FAILED_STARTS}" if end is End.FAILED_TO_START else ""
        return f"Next try in {delay_s:.0f} s{of}."

    def farewell(self, end: End, last_output: str) -> str:
        """The sentence that follows the reason where there is no next try."""
        if end in NEVER_AGAIN:
            return ""
        if end is End.CRASHED:
            return f"It ended {MOST_CRASHES} times within a minute and is held off. Load it to try again."
        return f"It could not be started {MOST_FAILED_STARTS} times. Its last output: {last_output or 'none'}"


def _back_off(count: int) -> float:
    return BACK_OFF_S[min(count, len(BACK_OFF_S)) - 1]


def _remember(times: deque[float], now: float, within_s: float) -> int:
    """Add a moment, forget what is older than `within_s`; how many are left."""
    times.append(now)
    while now - times[0] > within_s:
        times.popleft()
    return len(times)
