"""Clients that dribble, clients that go away, clients that are too many: the others are served."""

from __future__ import annotations

import json
import select
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import BENCH, Files
from tests.faults.figures import note
from tests.faults.invariants import Asked, answered, ask, watched
from tests.faults.small_models import asked, work
from tests.faults.test_kills import ask_for_long
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

SLOW = 200
TELLING = ("v2/models/narrow/ready", "v2/models/narrow", "v1/models/narrow", "v1/models/narrow/metadata")


def test_f13_two_hundred_slow_clients_do_not_keep_others_waiting(faulty: RunningPortal, manager: Api) -> None:
    alone = sorted(ask(manager, "steady", asked()).seconds for _ in range(50))

    with watched(faulty, "steady"), dribbling(faulty, SLOW):
        answers = [ask(manager, "steady", asked()) for _ in range(100)]

    beside = sorted(answer.seconds for answer in answers)
    remark = f"p50 {statistics.median(beside) * 1000:.1f} ms, {statistics.median(alone) * 1000:.1f} ms without them"
    note("F13", f"{SLOW} slow clients", lost=sum(a.status != 200 for a in answers), remark=remark)
    assert {answer.status for answer in answers} == {200}
    assert statistics.median(beside) < 5


def test_f13_a_full_queue_is_a_429_at_once(faulty: RunningPortal, manager: Api, small_files: Files) -> None:
    manager.upload("narrow", small_files.workbench, **BENCH, options='{"queue_limit":2,"max_batch":1}')
    manager.load("narrow")

    with watched(faulty, "steady"):
        running = ask_for_long(faulty, "narrow", seconds=8)
        waiting = [_sent(faulty, manager, "narrow") for _ in range(4)]
        wait_for(lambda: len(select.select(waiting, [], [], 0)[0]) == 2, 10, "two wait, two were refused")
        answers = [manager.post("/api/models/narrow/predict/", json=work()) for _ in range(20)]
        counted_while_full = _refusals(manager, "narrow")
        about = [manager.get(f"/{path}").status_code for path in TELLING]
        first = running()
        statuses = sorted(connection.recv(12)[-3:] for connection in waiting)

    for connection in waiting:
        connection.close()
    times = sorted(answer.elapsed.total_seconds() for answer in answers if answer.status_code == 429)
    note(
        "F13",
        "queue full",
        lost=0,
        remark=f"429 after {statistics.median(times) * 1000:.1f} ms, at most {times[-1] * 1000:.0f}",
    )
    assert len(times) > 10
    assert about == [200] * len(TELLING), "whoever asks nothing of the model is answered"
    assert counted_while_full > 0
    wait_for(lambda: _refusals(manager, "narrow") >= 2 + len(times), 10, "all are counted, whoever refused them")
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status_code == 429)
    assert statistics.median(times) < 0.5  # the figure to look at is printed: under 50 ms
    assert first.status == 200 and statuses == [b"200", b"200", b"429", b"429"]
    manager.delete("/api/models/narrow/", params={"unload": "true"})


def test_f13_clients_that_go_away_free_their_places(faulty: RunningPortal, manager: Api, small_files: Files) -> None:
    manager.upload("left", small_files.workbench, **BENCH, options='{"queue_limit":2,"max_batch":1}')
    manager.load("left")

    with watched(faulty, "steady"):
        running = ask_for_long(faulty, "left", seconds=12)
        gone = [_sent(faulty, manager, "left") for _ in range(4)]
        wait_for(lambda: len(select.select(gone, [], [], 0)[0]) == 2, 10, "two wait, two were refused")
        for connection in gone:
            connection.close()
        began = time.monotonic()
        found = wait_for(lambda: _accepted(faulty, "left"), 10, "a place is free")
        freed = time.monotonic() - began
        finished = [running(), found]

    note("F13", "clients that disconnect", recovered_s=freed, lost=0, remark="until their places were free")
    assert [answer.status for answer in finished] == [200, 200]
    manager.delete("/api/models/left/", params={"unload": "true"})


@contextmanager
def dribbling(portal: RunningPortal, count: int) -> Iterator[None]:
    """So many clients that send a byte now and then: half of them in the headers, half in the body."""
    is_over = threading.Event()
    connections = []
    for i in range(count):
        connection = socket.create_connection(("127.0.0.1", portal.port), 30)
        head = f"POST /api/models/steady/predict/ HTTP/1.1\r\nHost: 127.0.0.1:{portal.port}\r\n"
        connection.sendall(head.encode())
        if i % 2:
            key = portal.client().headers["Authorization"]
            more = f"Authorization: {key}\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{"
            connection.sendall(more.encode())
        connections.append(connection)

    def dribble() -> None:
        while not is_over.wait(0.5):
            for i, connection in enumerate(connections):
                try:
                    connection.sendall(b" " if i % 2 else b"X-A: b\r\n")
                except OSError:
                    continue  # the portal has closed it

    thread = threading.Thread(target=dribble, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(10)
        for connection in connections:
            connection.close()


def _sent(portal: RunningPortal, api: Api, name: str) -> socket.socket:
    """A whole request whose answer nobody reads yet."""
    body = json.dumps(work()).encode()
    connection = socket.create_connection(("127.0.0.1", portal.port), 30)
    lines = (
        f"POST /api/models/{name}/predict/ HTTP/1.1",
        f"Host: 127.0.0.1:{portal.port}",
        f"Authorization: {api.headers['Authorization']}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return connection


def _refusals(api: Api, name: str) -> int:
    """As the runner counts them."""
    stats = api.get(f"/v2/models/{name}/stats").json()["model_stats"][0]
    return int(stats["inference_stats"]["fail"]["count"])


def _accepted(portal: RunningPortal, name: str) -> Asked | None:
    answer = answered(lambda: portal.client().post(f"/api/models/{name}/predict/", json=work(), timeout=60))
    return answer if answer.status == 200 else None
