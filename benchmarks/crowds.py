"""Several models at the same time, and too many clients. Starts a portal of its own.

Measures the answers of one model while another loads and unloads; twenty models in LiteRT in turn against one; two
hundred clients on a queue of 64.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks import models
from benchmarks.http_load import OK, Asked, HttpLoad
from benchmarks.row import Row, median, megabytes, percentile
from inference.host.processes import memory_bytes
from tests.running_portal import ROOT, RunningPortal, running_portal

TINY_MODELS = 20
CYCLES = 6
ROUNDS = 3
CLIENTS = 16
CROWD = 200
QUEUE = 64
SECONDS = 4.0
INTERVAL_S = 0.0002
"""Python's switch interval: clients that ask must not wait for the GIL that the loading thread holds (1.2 ms more)."""


@dataclass(frozen=True, slots=True)
class Target:
    """A portal's port and the complete requests that are sent to it in turn."""

    port: int
    requests: list[bytes]


def measure() -> list[Row]:
    """Takes half a minute to two minutes once the models are made."""
    with tempfile.TemporaryDirectory(prefix="portal-crowds-") as folder:
        files = models.make(Path(folder))
        with running_portal(Path(folder) / "data", PORTAL_SLOTS="24") as portal:
            api = portal.client()
            tiny = [f"tiny-{number}" for number in range(TINY_MODELS)]
            for name in tiny:
                api.upload(name, files.digits_litert, preprocessing='{"preset": "unit"}')
            api.upload("asked", files.digits, engine="openvino", preprocessing='{"preset": "unit"}')
            options = json.dumps({"queue_limit": QUEUE})
            api.upload("large", files.mobilenet, engine="openvino", options=options)
            return [*_beside(portal, "asked"), *_in_turn(portal, tiny), *_overload(portal)]


def _beside(portal: RunningPortal, asked_name: str) -> list[Row]:
    """Load and unload MobileNetV2 while four clients ask another model."""
    api, target = portal.client(), _tensors(portal, [asked_name])
    api.load(asked_name)
    api.load("large")  # converts and compiles it
    api.unload("large")
    alone = _run(target, 4, SECONDS)
    loads: list[float] = []
    unloads: list[float] = []

    def load_and_unload() -> None:
        for _ in range(CYCLES):
            began = time.perf_counter()
            api.load("large")
            loaded = time.perf_counter()
            api.unload("large")
            unloads.append(time.perf_counter() - loaded)
            loads.append(loaded - began)

    beside: list[Asked] = []
    thread = threading.Thread(target=load_and_unload)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(INTERVAL_S)
    thread.start()
    while thread.is_alive():
        beside += _run(target, 4, 0.5)
    thread.join()
    api.unload(asked_name)
    sys.setswitchinterval(interval_s)
    p99 = [percentile([a.seconds for a in asked], 0.99) * 1000 for asked in (alone, beside)]
    return [
        Row(
            f"Load of MobileNetV2 in OpenVINO, loaded before, another model asked all the time, p50 of {CYCLES}",
            f"{median(loads):.2f} s",
            aim="1.0 s or less",
        ),
        Row(f"Unload of it, p50 of {CYCLES}", f"{median(unloads):.2f} s", aim="0.5 s or less"),
        Row(
            "p99 of the other model meanwhile; alone",
            f"{p99[1]:.1f} ms; {p99[0]:.1f} ms ({p99[1] / p99[0]:.1f} times)",
            aim="2 times or less",
            failures=_failures([*alone, *beside]),
        ),
    ]


def _in_turn(portal: RunningPortal, names: list[str]) -> list[Row]:
    """Twenty models in turn against one, measured alternately; and the memory of each."""
    api = portal.client()
    for name in names:
        api.load(name)
    one, all_of_them = _tensors(portal, names[:1]), _tensors(portal, names)
    rates: dict[tuple[str, int], list[float]] = {}
    failures = 0
    for _ in range(ROUNDS):
        for clients in (CLIENTS, 1):
            for key, target in (("one", one), ("all", all_of_them)):
                asked = _run(target, clients, SECONDS)
                failures += _failures(asked)
                rates.setdefault((key, clients), []).append(len(asked) / SECONDS)
    memory = [memory_bytes(api.pid(name)) or 0 for name in names]
    for name in names:
        api.unload(name)
    return [
        *(
            Row(
                f"{len(names)} tiny models in LiteRT in turn, {clients} at once: predictions a second; one model",
                f"{all_rate:.0f}; {one_rate:.0f} ({all_rate / one_rate:.2f})",
                aim="0.90 or more",
                failures=failures,
            )
            for clients in (CLIENTS, 1)
            for all_rate, one_rate in [(median(rates["all", clients]), median(rates["one", clients]))]
        ),
        Row("Memory of each of them (PSS), median", megabytes(median(memory))),
    ]


def _overload(portal: RunningPortal) -> list[Row]:
    """Two hundred clients on MobileNetV2, whose queue takes 64."""
    api = portal.client()
    api.load("large")
    pid, target = api.pid("large"), _picture(portal, "large")
    before = [a for a in _run(target, CLIENTS, SECONDS) if a.status == 200]
    memory = memory_bytes(pid) or 0
    crowd = _run(target, CROWD, 2 * SECONDS)
    ended_at = time.perf_counter()
    grown = (memory_bytes(pid) or 0) - memory
    later = [a for a in _run(target, CLIENTS, SECONDS) if a.status == 200 and a.ended_at - ended_at > 1]
    codes = Counter(asked.status for asked in crowd)
    refused = [asked.seconds * 1000 for asked in crowd if asked.status == 429]
    speed = (len(later) / (SECONDS - 1)) / (len(before) / SECONDS) if before else 0.0
    return [
        Row(
            f"{CROWD} clients on a queue of {QUEUE}: answered; refused with 429 (p50, p99)",
            f"{codes[200]}; {codes[429]} ({median(refused):.0f} ms, {percentile(refused, 0.99):.0f} ms)"
            if refused
            else f"{codes[200]}; none",
            aim="every other one 429, in under 50 ms",
            failures=sum(count for code, count in codes.items() if code not in (200, 429)),
        ),
        Row("Memory of the runner afterwards, more than before", megabytes(grown)),
        Row("Speed from one second afterwards on, of the speed before", f"{speed:.2f}", aim="1"),
    ]


def _failures(asked: list[Asked]) -> int:
    return sum(each.status != OK for each in asked)


def _run(target: Target, clients: int, seconds: float) -> list[Asked]:
    return HttpLoad(target.port, target.requests).run(clients, seconds)


def _tensors(portal: RunningPortal, names: list[str]) -> Target:
    body = json.dumps({"instances": [[[[0.5]] * 8] * 8]}).encode()
    return _target(portal, names, "application/json", body)


def _picture(portal: RunningPortal, name: str) -> Target:
    picture = (ROOT / "samples" / "images" / "two.png").read_bytes()
    head = (
        '--edge\r\nContent-Disposition: form-data; name="image"; filename="two.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    body = head.encode() + picture + b"\r\n--edge--\r\n"
    return _target(portal, [name], "multipart/form-data; boundary=edge", body)


def _target(portal: RunningPortal, names: list[str], content_type: str, body: bytes) -> Target:
    """Requests with the same body to each of these models in turn."""
    token = str(portal.client("predict").headers["Authorization"])
    heads = [
        f"POST /api/models/{name}/predict/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        for name in names
    ]
    return Target(portal.port, [head.encode() + body for head in heads])
