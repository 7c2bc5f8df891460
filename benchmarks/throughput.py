"""Predictions a second with several clients. The clients share the machine with the portal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.client import Answer, Client
from benchmarks.row import Bench, Row, percentile

CLIENTS = 8
DURATION_S = 10.0


def measure(bench: Bench) -> list[Row]:
    """With the first model loaded; each client asks again as soon as it is answered."""
    until = time.perf_counter() + DURATION_S

    def ask_until_over(first: int) -> list[Answer]:
        answers, number = [], first
        with Client(bench) as client:
            while time.perf_counter() < until:
                answers.append(client.ask(number))
                number += 1
        return answers

    bench.portal.client("predict")  # the API key is made once, before the clock starts
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for part in pool.map(ask_until_over, range(CLIENTS)) for answer in part]
    seconds = time.perf_counter() - began
    right = [answer for answer in answers if answer.is_right]
    slowest = percentile([answer.wall_ms for answer in right], 0.99) if right else 0.0
    return [
        Row(
            f"Predictions a second, {CLIENTS} clients, {DURATION_S:.0f} s (p99)",
            f"{len(right) / seconds:.0f} ({slowest:.0f} ms)",
            failures=len(answers) - len(right),
        )
    ]
