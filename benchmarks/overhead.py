"""Time of a prediction over REST beyond the engine's own: web server, permissions, decoding, transport both ways."""

from __future__ import annotations

from benchmarks.client import Client
from benchmarks.row import Bench, Row, median, percentile

REQUESTS = 200
WARM_UP = 20
AIM_MS = 5.0


def measure(bench: Bench) -> list[Row]:
    """With the first model loaded; one client, one connection, one picture a request."""
    with Client(bench) as client:
        for number in range(WARM_UP):
            client.ask(number)
        answers = [client.ask(number) for number in range(REQUESTS)]
    right = [answer for answer in answers if answer.is_right]
    failures = REQUESTS - len(right)
    if not right:
        return [Row("Prediction over REST", "no right answer", failures=failures)]
    beyond = [answer.beyond_ms for answer in right]
    return [
        Row(
            f"Prediction over REST beyond the engine's own time, p50 of {REQUESTS} (p99)",
            f"{median(beyond):.1f} ms ({percentile(beyond, 0.99):.1f} ms)",
            aim=f"{AIM_MS:.0f} ms or less",
            failures=failures,
        ),
        Row(f"Prediction over REST in all, p50 of {REQUESTS}", f"{median([a.wall_ms for a in right]):.1f} ms"),
    ]
