"""What a runner counts of itself and tells its owner once a second."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Statistics:
    """Counters since the process began; `latencies_s` holds the last 512 answers."""

    requests: int = 0
    errors: int = 0
    in_flight: int = 0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=512))

    def p95_ms(self) -> float | None:
        if not self.latencies_s:
            return None
        ordered = sorted(self.latencies_s)
        return round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] * 1000, 3)
