"""The clients of the contest, in a process of their own: python -m benchmarks.contest.clients < ORDER, prints a Window.

ORDER: {"port", "clients", "seconds", "warm_up_s", "form", "requests": [whole HTTP request in base64 …], "right": […]}.
"""

from __future__ import annotations

import base64
import gc
import json
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.contest.answers import is_right
from benchmarks.contest.window import Window
from benchmarks.http_load import BROKEN, OK, HttpLoad


def main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    load = HttpLoad(order["port"], [base64.b64decode(text) for text in order["requests"]])
    gc.disable()
    asked = load.run(order["clients"], order["seconds"], order["warm_up_s"])
    gc.enable()
    answered = [one for one in asked if one.status != BROKEN]
    within = [one for one in answered if one.ended_at <= load.until_s]
    wrong = sum(one.status != OK or not is_right(one.body, order["form"], order["right"][one.number]) for one in within)
    broken = len(asked) - len(answered)
    times = sorted(one.seconds for one in within)
    window = Window(
        requests=len(within) + broken,
        seconds=order["seconds"],
        p50_ms=times[len(times) // 2] * 1000 if times else 0.0,
        p99_ms=times[int(0.99 * len(times))] * 1000 if times else 0.0,
        failures=wrong + broken,
        client_cpu_s=load.cpu_s,
        asked=len(answered) + load.warmed_up,
    )
    print(json.dumps(asdict(window)))


if __name__ == "__main__":
    main()
