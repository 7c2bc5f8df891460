"""Ended calls are gathered while many wait, and never longer than they may."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.client import Runners
from inference.runner import coalescing
from inference.runner.batch_rules import BatchRules
from inference.runner.calls import Call, Part, Work
from inference.runner.coalescing import MOST_CALLS, MOST_S, Coalescer
from inference.runner.config import RunnerConfig
from inference.runner.server import Server
from inference.signature import Signature, TensorSpec


def ended(*, waited_s: float, seconds: float = 0.001) -> Call:
    """A call that has just ended."""
    work = Work(deadline=time.monotonic() + 20, queued_at=time.monotonic() - waited_s - seconds)
    return Call([Part(work, {}, 1, [])], 1, seconds)


def test_a_call_is_taken_at_once_unless_many_wait() -> None:
    ended_calls = Coalescer()

    assert ended_calls.add(ended(waited_s=10), is_saturated=False)
    assert len(list(ended_calls.take())) == 1


def test_calls_of_a_crowd_are_taken_together_the_oldest_first() -> None:
    ended_calls = Coalescer()
    calls = [ended(waited_s=10) for _ in range(MOST_CALLS)]

    told = [ended_calls.add(call, is_saturated=True) for call in calls]

    assert told == [False] * (MOST_CALLS - 1) + [True]
    assert list(ended_calls.take()) == calls
    assert list(ended_calls.take()) == []


def test_what_others_left_is_taken_with_the_last_of_a_crowd() -> None:
    ended_calls = Coalescer()
    first, last = ended(waited_s=10), ended(waited_s=10)

    assert not ended_calls.add(first, is_saturated=True)
    assert ended_calls.add(last, is_saturated=False)
    assert list(ended_calls.take()) == [first, last]


def test_a_call_that_took_long_is_taken_at_once() -> None:
    assert Coalescer().add(ended(waited_s=10, seconds=2 * MOST_S), is_saturated=True)


@pytest.mark.parametrize(("waited_s", "kept_s"), [(0.0, 0.0), (10, MOST_S)])
def test_an_answer_is_kept_a_share_of_its_wait_and_never_longer_than_it_may(waited_s: float, kept_s: float) -> None:
    ended_calls = Coalescer()
    ended_calls.add(ended(waited_s=waited_s), is_saturated=True)

    time.sleep(kept_s + 0.001)

    assert ended_calls.add(ended(waited_s=10), is_saturated=True)


ONE_NUMBER = Signature((TensorSpec("x", "float32", (1, 1)),), (TensorSpec("y", "float32", (1, 1)),))


@dataclass
class Gated:
    """Answers what it is given; negative numbers wait in front of a gate."""

    signature: Signature = ONE_NUMBER
    callers: int = 2
    parallel: int = 2
    may_loop: bool = True
    device: str = "cpu"
    gate: threading.Event = field(default_factory=threading.Event)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if inputs["x"][0, 0] < 0:
            assert self.gate.wait(20)
        return {"y": inputs["x"]}


def test_an_answer_whose_crowd_waits_behind_a_call_that_lasts_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both threads of the engine are at calls that last, ten requests wait, and one answer was being gathered."""
    monkeypatch.setattr(coalescing, "MOST_S", 3600)
    monkeypatch.setattr(coalescing, "SHARE_OF_WAIT", 10**9)
    engine = Gated()

    async def answered_beside_a_crowd() -> tuple[float, list[float]]:
        server = Server(engine, RunnerConfig("model", "keras", "tensorflow"), BatchRules(1))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket"))
            await server.start(listener)
            runners = Runners()

            async def ask(value: float) -> float:
                inputs = {"x": np.full((1, 1), value, np.float32)}
                reply = await runners.ask_tensors([str(tmp_path / "socket")], inputs, timeout_s=20.0)
                return float(reply.outputs["y"][0, 0])

            asked = [asyncio.create_task(ask(value)) for value in (-1, 7, -2, *range(10, 20))]
            answer = await asyncio.wait_for(asked[1], 10)
            is_saturated = server.batcher.is_saturated
            engine.gate.set()
            others = await asyncio.gather(*asked)
            assert is_saturated
            return answer, others

    answer, others = asyncio.run(answered_beside_a_crowd())

    assert answer == 7
    assert others == [-1, 7, -2, *range(10, 20)]
