"""Decides whether and when a runner that ended is started again."""

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
    """Counts ends of runners; times are passed in, so that no clock is needed.

    Failed starts are retried after 1, 2, 4 … 60 s, until 5 fail within 10 minutes; ends in NEVER_AGAIN are not retried.
    After a crash of a ready model the first restart is immediate, later ones follow the same back-off, until 3 crashes
    within a minute. A kill from outside is never counted: the restart is immediate. More than 30 s ready reset the
    back-off.
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
        """Note how long the model has been ready."""
        if seconds > STEADY_S:
            self._crashes_in_a_row = 0
            self._failed_starts.clear()

    def retry_sentence(self, end: End, delay_s: float) -> str:
        """The sentence that follows the reason: "Next try in 2 s, try 3 of 5."."""
        if delay_s == 0:
            return "It is started again now."
        of = f", try {len(self._failed_starts) + 1} of {MOST_FAILED_STARTS}" if end is End.FAILED_TO_START else ""
        return f"Next try in {delay_s:.0f} s{of}."

    def final_sentence(self, end: End, last_output: str) -> str:
        """The sentence that follows the reason if there is no next try."""
        if end in NEVER_AGAIN:
            return ""
        if end is End.CRASHED:
            return f"It ended {MOST_CRASHES} times within a minute and is held off. Load it to try again."
        return f"It could not be started {MOST_FAILED_STARTS} times. Its last output: {last_output or 'none'}"


def _back_off(count: int) -> float:
    return BACK_OFF_S[min(count, len(BACK_OFF_S)) - 1]


def _remember(times: deque[float], now: float, within_s: float) -> int:
    """Add a moment and drop those older than `within_s`. Returns how many are left."""
    times.append(now)
    while now - times[0] > within_s:
        times.popleft()
    return len(times)
