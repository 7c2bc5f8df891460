"""Nobody has to read what a runner prints: its lines are dropped where the pipe is full, and predictions go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.client import Runners
from inference.errors import BadInput
from inference.owner.started_runner import StartedRunner, start_runner
from inference.runner.log import DroppingHandler, RateLimited, open_anew
from tests.faults.small_models import SIZE, adder
from tests.owner_report import assigned
from tests.running_portal import wait_for

LONG_S = 20.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[StartedRunner]:
    """One that serves `x + 1` and whose output nobody reads."""
    assignment = assigned(tmp_path, "unread", adder(tmp_path / "adder.zip", 1), "openvino")
    runner = start_runner(replace(assignment, config=replace(assignment.config, format="openvino")), time.monotonic())
    yield runner
    runner.kill()
    runner.close()


def test_a_line_that_finds_the_pipe_full_is_dropped_and_a_later_one_is_not(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    own = open_anew(writing)
    handler = DroppingHandler(own)

    for _ in range(100):
        handler.emit(logging.makeLogRecord({"msg": "x" * 1000}))
    kept = os.read(reading, 2**20).splitlines()
    handler.emit(logging.makeLogRecord({"msg": "after"}))
    os.close(own)

    assert 0 < len(kept) < 100
    assert os.read(reading, 2**20) == b"after\n"
    assert os.get_blocking(writing), "what libraries print waits as before"


def test_lines_that_come_too_often_are_counted() -> None:
    said: list[str] = []
    moments = iter([0.0, 0.1, 0.2, 0.3, 0.4, 1.5, 9.0])
    limited = RateLimited(said.append, most_a_second=2, clock=lambda: next(moments))

    for line in "abcdef":
        limited.log(line)

    assert said == ["a", "b", "2 more lines like these were left out", "e", "f"]


def test_predictions_go_on_while_nobody_reads_what_the_runner_prints(runner: StartedRunner) -> None:
    wait_for(lambda: "ready" in [said["event"] for said in runner.read_reports() or ()], 60, "the runner is ready")
    fill(runner.output_descriptor)

    async def ask() -> list[float]:
        runners, path = Runners(), str(runner.socket_path)
        for _ in range(20):
            with pytest.raises(BadInput):
                await runners.ask_tensors([path], {"y": np.zeros((1, 2), np.float32)}, timeout_s=LONG_S)
        reply = await runners.ask_tensors([path], {"x": np.zeros((1, SIZE), np.float32)}, timeout_s=LONG_S)
        return list(reply.outputs["y"][0])

    assert asyncio.run(ask()) == [1.0] * SIZE


def fill(reading: int) -> None:
    """Leave no room in the pipe that is read here."""
    writing = os.open(f"/proc/self/fd/{reading}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x")
    os.close(writing)
