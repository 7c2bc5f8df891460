"""The queue in front of an engine: bounded, in batches, several threads, nothing run that nobody waits for."""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from inference.errors import BadImage, BadInput, Busy, DeadlinePassed, EngineFailed, NotLoaded
from inference.runner import batching
from inference.runner.batch_rules import BatchRules
from inference.runner.batching import Batcher
from inference.runner.calls import Call, Work
from inference.signature import Signature, TensorSpec
from tests.running_portal import wait_for

FREE = Signature((TensorSpec("x", "float32", (None, 2)),), (TensorSpec("y", "float32", (None, 2)),))
FIXED = Signature((TensorSpec("x", "float32", (1, 2)),), (TensorSpec("y", "float32", (1, 2)),))


@dataclass
class Doubler:
    """An engine that doubles, keeps what it was given, and waits in front of a gate if there is one."""

    signature: Signature = FREE
    callers: int = 1
    may_loop: bool = False
    device: str = "cpu"
    gate: threading.Event = field(default_factory=threading.Event)
    calls: list[np.ndarray[Any, Any]] = field(default_factory=list)
    inside: int = 0
    most_inside: int = 0

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.calls.append(inputs["x"])
        assert self.gate.wait(20)
        self.inside -= 1
        if np.isnan(inputs["x"]).any():
            raise ValueError("not a number")
        return {"y": inputs["x"] * 2}


@dataclass
class Line:
    """A batcher, and what it said."""

    batcher: Batcher
    calls: list[Call] = field(default_factory=list)

    def send(self, *values: float, within_s: float = 20.0) -> Work:
        work = Work(time.monotonic() + within_s)
        self.batcher.submit(work, {"x": rows(*values)})
        return work

    def ended(self, work: Work) -> bool:
        done = [part for call in self.calls for part in call.parts if part.work is work]
        return len(done) == len(work.parts)

    def answer(self, work: Work) -> list[float]:
        wait_for(lambda: self.ended(work), 20, "an answer")
        assert not [part.error for part in work.parts if part.error]
        return [float(row[0]) for part in work.parts for row in part.outputs["y"]]

    def error(self, work: Work) -> Exception | None:
        wait_for(lambda: self.ended(work), 20, "an answer")
        return work.parts[0].error


def rows(*values: float) -> np.ndarray[Any, Any]:
    return np.array([[value, 0] for value in values], np.float32)


def values(engine: Doubler) -> list[float]:
    """What it was asked for, sorted: threads come as they like."""
    return sorted(float(call[0, 0]) for call in engine.calls)


def never(bug: BaseException) -> None:
    raise AssertionError(bug)


@pytest.fixture
def line() -> Callable[..., Line]:
    def make(
        engine: Doubler,
        *,
        max_batch: int = 4,
        queue_limit: int = 100,
        max_wait_s: float = 0.0,
        alone: Doubler | None = None,
    ) -> Line:
        calls: list[Call] = []
        rules = BatchRules(max_batch, max_wait_s)
        batcher = Batcher(engine, rules, queue_limit=queue_limit, on_done=calls.append, on_bug=never, alone=alone)
        batcher.start()
        return Line(batcher, calls)

    return make


def first_runs(engine: Doubler, count: int = 1) -> None:
    wait_for(lambda: len(engine.calls) >= count, 20, "the engine is at work")


def test_an_idle_engine_starts_at_once(line: Callable[..., Line]) -> None:
    engine = Doubler()
    engine.gate.set()
    queue = line(engine, max_wait_s=0.0)

    answer = queue.answer(queue.send(1))

    assert answer == [2]


def test_what_waits_is_run_together_and_each_gets_its_own_rows(line: Callable[..., Line]) -> None:
    engine = Doubler()
    queue = line(engine)
    first = queue.send(1)
    first_runs(engine)
    others = [queue.send(2), queue.send(3, 4), queue.send(5), queue.send(6)]
    engine.gate.set()

    answers = [queue.answer(work) for work in [first, *others]]

    assert answers == [[2], [4], [6, 8], [10], [12]]
    assert [len(call) for call in engine.calls] == [1, 4, 1]
    assert [call.rows for call in queue.calls] == [1, 4, 1]


@pytest.mark.parametrize(
    ("sent", "rows_run"),
    [([1], 1), ([1, 2, 3], 4), ([1, 2, 3, 4, 5], 6), ([1, 2, 3, 4, 5, 6], 6)],
)
def test_a_call_on_a_gpu_is_filled_up_to_a_number_of_rows_that_it_knows(
    line: Callable[..., Line], sent: list[float], rows_run: int
) -> None:
    engine = Doubler(device="gpu:0")
    engine.gate.set()
    queue = line(engine, max_batch=6)

    answer = queue.answer(queue.send(*sent))

    assert answer == [2 * value for value in sent]
    assert [len(call) for call in engine.calls] == [rows_run]
    assert [call.rows for call in queue.calls] == [len(sent)]


def test_requests_that_share_a_filled_up_call_get_their_own_rows(line: Callable[..., Line]) -> None:
    engine = Doubler(device="gpu:0")
    queue = line(engine)
    first = queue.send(1)
    first_runs(engine)
    others = [queue.send(2), queue.send(3, 4)]
    engine.gate.set()

    assert [queue.answer(work) for work in [first, *others]] == [[2], [4], [6, 8]]
    assert [len(call) for call in engine.calls] == [1, 4]
    assert [call.rows for call in queue.calls] == [1, 3]


def test_a_request_whose_rows_come_back_in_another_number_is_run_as_it_is(line: Callable[..., Line]) -> None:
    engine = Dropping(device="gpu:0")
    queue = line(engine)

    assert queue.answer(queue.send(1, -1, 2)) == [1, 2]


@dataclass
class Dropping(Doubler):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"y": inputs["x"][inputs["x"][:, 0] > 0]}


def test_a_bad_row_does_not_fail_those_it_fills_a_call_with(line: Callable[..., Line]) -> None:
    engine = Doubler(device="gpu:0")
    queue = line(engine)
    first = queue.send(1)
    first_runs(engine)
    good, bad = queue.send(2, 3), queue.send(np.nan)
    engine.gate.set()

    assert (queue.answer(first), queue.answer(good)) == ([2], [4, 6])
    assert isinstance(queue.error(bad), EngineFailed)


def test_requests_of_other_shapes_are_not_mixed(line: Callable[..., Line]) -> None:
    free = Signature((TensorSpec("x", "float32", (None, None)),), (TensorSpec("y", "float32", (None, None)),))
    engine = Doubler(free)
    queue = line(engine)
    queue.send(1)
    first_runs(engine)
    wide = Work(time.monotonic() + 20)
    works = [queue.send(2), wide, queue.send(3)]
    queue.batcher.submit(wide, {"x": np.ones((1, 5), np.float32)})
    engine.gate.set()

    wait_for(lambda: all(queue.ended(work) for work in works), 20, "all answers")

    assert [call.shape for call in engine.calls] == [(1, 2), (2, 2), (1, 5)]


@pytest.mark.parametrize(
    ("signature", "max_batch", "sizes"), [(FREE, 4, [4, 4, 1]), (FREE, 1, [1] * 9), (FIXED, 4, [1] * 9)]
)
def test_more_rows_than_a_batch_holds_are_run_in_several_calls(
    line: Callable[..., Line], signature: Signature, max_batch: int, sizes: list[int]
) -> None:
    engine = Doubler(signature)
    engine.gate.set()
    queue = line(engine, max_batch=max_batch)

    answer = queue.answer(queue.send(*range(9)))

    assert answer == [2 * i for i in range(9)]
    assert [len(call) for call in engine.calls] == sizes


@pytest.mark.parametrize("threads", [1, 3])
def test_a_small_request_waits_for_a_call_and_not_for_all_rows_of_a_large_one(
    line: Callable[..., Line], threads: int
) -> None:
    engine = Doubler(callers=threads)
    queue = line(engine, max_batch=2)
    large = queue.send(*range(200))
    first_runs(engine, threads)

    small = queue.send(1000)
    engine.gate.set()

    assert queue.answer(small) == [2000]
    assert queue.answer(large) == [2 * value for value in range(200)]
    place = next(number for number, call in enumerate(engine.calls) if call[0, 0] == 1000)
    assert place <= 3 * threads


def test_inputs_of_different_lengths_are_refused_where_the_file_fixes_the_batch(line: Callable[..., Line]) -> None:
    pair = (TensorSpec("x", "float32", (1, 2)), TensorSpec("z", "float32", (1, 2)))
    queue = line(Doubler(Signature(pair, FIXED.outputs)))

    with pytest.raises(BadInput):
        queue.batcher.submit(Work(time.monotonic() + 20), {"x": rows(1, 2), "z": rows(1)})


def test_an_error_is_put_down_to_unequal_inputs_only_where_they_hold_examples(line: Callable[..., Line]) -> None:
    """A number and a table of anchors have no rows that could fit those of `x`; and no memory is no wrong input."""
    x, z = (TensorSpec(name, "float32", (None, 2)) for name in "xz")
    beside = (TensorSpec("k", "float32", ()), TensorSpec("anchors", "float32", (10, 4)))
    fixed = {"k": np.zeros((), np.float32), "anchors": np.zeros((10, 4), np.float32)}

    def error_of(inputs: tuple[TensorSpec, ...], given: Mapping[str, Any], raised: Exception) -> Exception | None:
        queue, work = line(Failing(Signature(inputs, FREE.outputs), error=raised)), Work(time.monotonic() + 20)
        queue.batcher.submit(work, given)
        return queue.error(work)

    assert isinstance(error_of((x, *beside), {"x": rows(1), **fixed}, ValueError("no")), EngineFailed)
    assert isinstance(error_of((x, z, *beside), {"x": rows(1), "z": rows(1, 2), **fixed}, ValueError("no")), BadInput)
    assert isinstance(error_of((x, z, *beside), {"x": rows(1), "z": rows(1, 2), **fixed}, MemoryError()), EngineFailed)


@dataclass
class Failing(Doubler):
    error: Exception = field(default_factory=Exception)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        raise self.error


def test_a_full_queue_refuses_at_once_and_has_room_again(line: Callable[..., Line]) -> None:
    engine = Doubler()
    queue = line(engine, queue_limit=3)
    queue.send(0)
    first_runs(engine)
    works = [queue.send(i) for i in (1, 2, 3)]

    began = time.monotonic()
    with pytest.raises(Busy) as refused:
        queue.send(4)
    took_s = time.monotonic() - began
    engine.gate.set()
    for work in works:
        queue.answer(work)

    print(f"refused after {took_s * 1000:.2f} ms")
    assert (refused.value.retry_after_s, took_s < 1) == (1, True)
    assert queue.answer(queue.send(5)) == [10]
    assert queue.batcher.depth == 0


def test_a_request_whose_pictures_are_still_decoded_has_its_place(line: Callable[..., Line]) -> None:
    engine = Doubler()
    engine.gate.set()
    queue = line(engine, queue_limit=1)
    decoding = Work(time.monotonic() + 20)
    queue.batcher.reserve(decoding)

    with pytest.raises(Busy):
        queue.send(1)
    queue.batcher.withdraw(decoding)
    queue.batcher.submit(decoding, {"x": rows(9)})  # its pictures were ready a moment too late

    assert queue.batcher.depth == 0
    assert queue.answer(queue.send(1)) == [2]


@pytest.mark.parametrize("threads", [1, 6])
def test_what_nobody_waits_for_any_more_is_not_run(line: Callable[..., Line], threads: int) -> None:
    engine = Doubler(callers=threads)
    queue = line(engine, max_batch=1)
    busy = [queue.send(0) for _ in range(threads)]
    first_runs(engine, threads)
    late = queue.send(7, within_s=0.0)
    left = queue.send(8, 9, 10)
    wanted = queue.send(11)
    queue.batcher.withdraw(left)
    depth = queue.batcher.depth
    engine.gate.set()

    answers = [queue.answer(work) for work in [*busy, wanted]]

    assert isinstance(queue.error(late), DeadlinePassed)
    assert answers == [[0]] * threads + [[22]]
    assert not {7, 8, 9, 10} & {float(call[0, 0]) for call in engine.calls}
    assert (depth, queue.batcher.depth) == (2, 0)


def test_what_nobody_waits_for_any_more_takes_no_memory(line: Callable[..., Line]) -> None:
    engine = Doubler()
    queue = line(engine, max_batch=1)
    busy = queue.send(0)
    first_runs(engine)
    left, inputs = Work(time.monotonic() + 20), rows(7, 8, 9)
    freed = threading.Event()
    weakref.finalize(inputs, freed.set)
    queue.batcher.submit(left, {"x": inputs})
    del inputs
    was_freed = freed.is_set()

    queue.batcher.withdraw(left)
    left.parts = []

    assert (was_freed, freed.is_set()) == (False, True)
    engine.gate.set()
    assert queue.answer(busy) == [0]


def test_several_threads_run_as_many_calls_at_once_and_share_a_request(line: Callable[..., Line]) -> None:
    engine = Doubler(callers=4)
    queue = line(engine, max_batch=1)
    work = queue.send(1, 2, 3, 4, 5)
    first_runs(engine, 4)
    running_s = wait_for(lambda: queue.batcher.running_s, 5, "a call is running")
    engine.gate.set()

    assert queue.answer(work) == [2, 4, 6, 8, 10]
    assert engine.most_inside == 4
    assert running_s > 0
    wait_for(lambda: queue.batcher.running_s == 0, 5, "all threads are idle")


def test_a_lone_request_gets_all_cores_and_those_beside_it_one_each(line: Callable[..., Line]) -> None:
    engine, alone = Doubler(callers=4), Doubler()
    queue = line(engine, max_batch=1, alone=alone)
    first = queue.send(1)
    first_runs(alone)

    beside = [queue.send(2), queue.send(3)]
    first_runs(engine, 2)
    alone.gate.set()
    engine.gate.set()

    assert [queue.answer(work) for work in (first, *beside)] == [[2], [4], [6]]
    assert (values(alone), values(engine)) == ([1], [2, 3])


def test_a_request_shortly_after_a_crowd_does_not_count_as_alone(
    line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, alone = Doubler(callers=4), Doubler()
    engine.gate.set()
    alone.gate.set()
    queue = line(engine, max_batch=1, alone=alone)
    monkeypatch.setattr(batching, "ALONE_FOR_S", 3600)
    queue.answer(queue.send(1, 2, 3))

    queue.answer(queue.send(4))
    monkeypatch.setattr(batching, "ALONE_FOR_S", 0)
    queue.answer(queue.send(5))

    assert (values(engine), values(alone)) == ([1, 2, 3, 4], [5])


def test_inputs_are_made_on_the_engines_threads_where_there_are_several(line: Callable[..., Line]) -> None:
    engine = Doubler(callers=4)
    engine.gate.set()
    queue = line(engine, max_batch=1)
    made_by: list[str] = []

    def make(value: float) -> Mapping[str, np.ndarray[Any, Any]]:
        made_by.append(threading.current_thread().name)
        if value < 0:
            raise BadImage("This is no picture.")
        return {"x": rows(value)}

    works = [Work(time.monotonic() + 20) for _ in range(3)]
    for work, value in zip(works, (3, -1, 4), strict=True):
        queue.batcher.submit_unmade(work, functools.partial(make, value))

    assert (queue.answer(works[0]), queue.answer(works[2])) == ([6], [8])
    assert isinstance(queue.error(works[1]), BadImage)
    assert len(engine.calls) == 2, "what cannot be made is not run"
    assert all(name.startswith("engine") for name in made_by)
    assert sorted(call.rows for call in queue.calls) == [0, 1, 1]
    assert [line(Doubler(callers=n), max_batch=size).batcher.makes_inputs for n, size in ((1, 1), (2, 1), (2, 4))] == [
        False, True, False,
    ]  # fmt: skip


def test_a_brief_call_is_made_by_who_submits_all_that_waits_together() -> None:
    engine = Doubler()
    engine.gate.set()
    calls: list[Call] = []
    batcher = Batcher(engine, BatchRules(4, is_brief=True), queue_limit=5, on_done=calls.append, on_bug=never)
    queue = Line(batcher, calls)
    batcher.start()
    works = [queue.send(value) for value in range(5)]
    with pytest.raises(Busy):
        queue.send(9)
    before = list(calls)
    is_more_left = batcher.run_waiting(20)

    assert not before
    assert not is_more_left
    assert [call.rows for call in calls] == [4, 1]
    assert [queue.answer(work) for work in works] == [[0], [2], [4], [6], [8]]
    assert batcher.depth == 0


def test_brief_calls_give_way_after_their_time() -> None:
    engine = Doubler()
    engine.gate.set()
    calls: list[Call] = []
    batcher = Batcher(engine, BatchRules(1, is_brief=True), queue_limit=5, on_done=calls.append, on_bug=never)
    queue = Line(batcher, calls)
    work = queue.send(*range(100_000))

    is_more_left = batcher.run_waiting(0.01)
    run = len(engine.calls)
    batcher.withdraw(work)

    print(f"{run} calls in a turn of 10 ms")
    assert is_more_left
    assert 0 < run < 50_000
    assert not batcher.run_waiting(20)
    assert len(engine.calls) == run


@pytest.mark.parametrize(
    "engine",
    [Doubler(may_loop=True), Doubler(callers=4), Doubler(Signature((TensorSpec("x", "float32", (None, None)),), ()))],
)
def test_what_may_take_long_with_other_values_keeps_its_threads(engine: Doubler) -> None:
    rules = BatchRules(4, is_brief=True)

    assert Batcher(engine, rules, queue_limit=5, on_done=lambda call: None, on_bug=never).has_threads
    assert not Batcher(Doubler(), rules, queue_limit=5, on_done=lambda call: None, on_bug=never).has_threads


def test_the_oldest_call_counts_as_running_while_others_come_and_go(line: Callable[..., Line]) -> None:
    engine = HangsOnce()
    engine.gate.set()
    queue = line(engine, max_batch=1)
    queue.send(-1)
    wait_for(lambda: engine.is_hanging, 5, "one call hangs")
    since = queue.batcher.running_s
    for value in range(50):
        queue.answer(queue.send(value))

    assert queue.batcher.running_s > since
    engine.release.set()
    wait_for(lambda: queue.batcher.running_s == 0, 5, "it ended")


@dataclass
class HangsOnce(Doubler):
    callers: int = 2
    is_hanging: bool = False
    release: threading.Event = field(default_factory=threading.Event)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if inputs["x"][0, 0] < 0:
            self.is_hanging = True
            assert self.release.wait(20)
        return Doubler.run(self, inputs)


def test_one_bad_request_does_not_fail_those_it_was_run_with(line: Callable[..., Line]) -> None:
    engine = Doubler()
    queue = line(engine)
    queue.send(1)
    first_runs(engine)
    good, bad, other = queue.send(2), queue.send(float("nan")), queue.send(3)
    engine.gate.set()

    assert (queue.answer(good), queue.answer(other)) == ([4], [6])
    assert isinstance(queue.error(bad), EngineFailed)


def test_an_engine_that_mixes_its_rows_is_asked_for_each_request_alone(line: Callable[..., Line]) -> None:
    engine = Summing()
    engine.gate.set()
    queue = line(engine, max_wait_s=0.2)

    works = [queue.send(1), queue.send(2)]

    assert [queue.answer(work) for work in works] == [[1], [2]]


@dataclass
class Summing(Doubler):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"y": inputs["x"].sum(0, keepdims=True)}


def test_an_idle_engine_waits_for_more_only_as_long_as_it_is_told(line: Callable[..., Line]) -> None:
    engine = Doubler()
    engine.gate.set()
    queue = line(engine, max_batch=2, max_wait_s=5.0)

    pair = [queue.send(1), queue.send(2)]
    answers = [queue.answer(work) for work in pair]
    alone = line(engine, max_batch=2, max_wait_s=0.05)

    assert answers == [[2], [4]]
    assert [len(call) for call in engine.calls] == [2]
    assert alone.answer(alone.send(3)) == [6]


def test_a_closed_queue_takes_nothing_and_finishes_what_it_has(line: Callable[..., Line]) -> None:
    engine = Doubler()
    queue = line(engine)
    works = [queue.send(1), queue.send(2)]
    queue.batcher.close()
    with pytest.raises(NotLoaded):
        queue.send(3)
    engine.gate.set()

    assert [queue.answer(work) for work in works] == [[2], [4]]
