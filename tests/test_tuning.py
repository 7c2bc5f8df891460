"""How an engine is asked, as it is measured at a load: engines whose time is known stand for real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from inference import texts
from inference.engines import ModelUnusable
from inference.runner import tuning
from inference.runner.config import MOST_BATCH, RunnerConfig
from inference.runner.independence import answers_rows_alone
from inference.runner.tuning import Loaded, Tuned, Tuning
from inference.signature import Signature, TensorSpec

FREE = Signature((TensorSpec("x", "float32", (None, 2)),), (TensorSpec("y", "float32", (None, 2)),))


@dataclass
class Sleeper:
    """An engine whose call of so many rows takes `seconds(rows)`."""

    seconds: Callable[[int], float]
    signature: Signature = FREE
    parallel: int = 1
    callers: int = 1
    may_loop: bool = True
    device: str = "cpu"
    rows_run: int = 0

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.rows_run += len(inputs["x"])
        time.sleep(self.seconds(len(inputs["x"])))
        return {"y": inputs["x"] * 2}


@dataclass
class Hesitant(Sleeper):
    """The first call of each number of rows takes a while, as where cuDNN looks for the fastest algorithm."""

    known: set[int] = field(default_factory=set)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        rows = len(inputs["x"])
        if rows not in self.known:
            time.sleep(0.4)
            self.known.add(rows)
        return super().run(inputs)


def tune(engine: Sleeper, **options: Any) -> Tuned:
    return load(engine, engine, **options).tuned


def load(*engines: Sleeper, **options: Any) -> Loaded:
    """Of `engines` the second is what is opened for a lone call, or on one thread."""
    config = RunnerConfig(__file__, "keras", options.pop("engine", "tensorflow"), **options)
    left = list(engines)

    def open_next(streams: int, threads: int | None) -> Sleeper:
        if not left:
            raise ModelUnusable("There is no memory left.")
        return left.pop(0)

    def rows(engine: Any, count: int, free: int) -> dict[str, Any]:
        return {"x": np.zeros((count, *(free if n is None else n for n in engine.signature.inputs[0].shape[1:])))}

    return Tuning(config, open_next, rows).load()


@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [
        (lambda rows: 0.004, MOST_BATCH, MOST_BATCH),  # a call costs the same, however many rows it takes
        (lambda rows: 0.004 * rows, 4, MOST_BATCH),  # each row costs the same: nothing is lost in large calls
        (lambda rows: 0.004 * rows**2, 1, 1),
    ],
    ids=["free", "linear", "quadratic"],
)
def test_a_call_takes_as_many_rows_as_cost_no_throughput(
    seconds: Callable[[int], float], least: int, most: int
) -> None:
    tuned = tune(Sleeper(seconds))

    assert least <= tuned.max_batch <= most


def test_a_busy_moment_does_not_end_the_measurement() -> None:
    calls = 0

    def seconds(rows: int) -> float:
        nonlocal calls
        calls += rows == 2
        return 0.06 if rows == 2 and calls <= 2 else 0.004  # the first time that two rows are measured

    assert tune(Sleeper(seconds)).max_batch == MOST_BATCH


def test_a_busy_moment_is_not_taken_for_more_rows_a_second() -> None:
    calls = 0

    def seconds(rows: int) -> float:
        nonlocal calls
        calls += rows == 1
        return 0.06 if rows == 1 and calls <= 4 else 0.004 * rows  # the warm-up and the first time of one row

    assert tune(Sleeper(seconds, parallel=2)).max_batch == 1


def test_calls_side_by_side_take_one_row_unless_more_bring_much() -> None:
    assert tune(Sleeper(lambda rows: 0.004 * rows, parallel=2)).max_batch == 1
    assert tune(Sleeper(lambda rows: 0.004, parallel=2)).max_batch == MOST_BATCH


def test_a_gpu_that_is_slow_at_each_new_number_of_rows_is_measured_afterwards(tmp_path: Path) -> None:
    options = {"cache_directory": str(tmp_path)}
    found, loaded_again = Hesitant(lambda rows: 0.002, device="gpu:0"), Hesitant(lambda rows: 0.002, device="gpu:0")

    tuned = tune(found, **options)

    assert tuned.max_batch == MOST_BATCH
    assert tune(loaded_again, **options) == tuned
    assert loaded_again.known == {1, 2, 4, 8, 16}


def test_a_gpu_whose_memory_ends_at_some_number_of_rows_is_loaded() -> None:
    def seconds(rows: int) -> float:
        if rows > 4:
            raise RuntimeError("out of memory")
        return 0.004

    assert tune(Sleeper(seconds, device="gpu:0")).max_batch == 4


def test_more_rows_have_to_bring_something_where_memory_is_limited() -> None:
    assert tune(Sleeper(lambda rows: 0.004 * rows), memory_limit_bytes=10**9).max_batch == 1
    assert tune(Sleeper(lambda rows: 0.004), memory_limit_bytes=10**9).max_batch == MOST_BATCH


def test_rows_that_the_engine_cannot_take_do_not_fail_the_load() -> None:
    def seconds(rows: int) -> float:
        if rows > 4:
            raise RuntimeError("out of memory")
        return 0.004

    assert tune(Sleeper(seconds)).max_batch == 4


@pytest.mark.parametrize("least_steps", [20, 400, 10_000])
def test_a_model_of_long_inputs_is_measured_on_a_length_that_it_takes(least_steps: int) -> None:
    @dataclass
    class Cropping(Sleeper):
        """Cuts steps away at either end, and refuses what has fewer than half as many."""

        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            steps = inputs["x"].shape[1]
            if 2 * steps < least_steps:
                raise ValueError("too short")
            return {"y": super().run(inputs)["y"][:, least_steps - 1 :]}

    ends = TensorSpec("x", "float32", (None, None, 2)), TensorSpec("y", "float32", (None, None, 2))

    tuned = tune(Cropping(lambda rows: 0.004, Signature(ends[:1], ends[1:])))

    assert (tuned.is_batchable, tuned.max_batch) == (True, MOST_BATCH)


def test_no_more_rows_than_the_version_asks_for() -> None:
    assert tune(Sleeper(lambda rows: 0.002), max_batch=4).max_batch == 4


def test_a_file_that_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    options = {"cache_directory": str(tmp_path)}
    first = tune(Sleeper(lambda rows: 0.004), **options)
    engine = Sleeper(lambda rows: 0.004)

    assert tune(engine, **options) == first
    assert engine.rows_run < MOST_BATCH  # the warm-up, one row a call


def test_more_rows_than_usual_are_kept_where_the_version_asks_for_them(tmp_path: Path) -> None:
    options = {"cache_directory": str(tmp_path), "max_batch": 4 * MOST_BATCH}
    first, engine = tune(Sleeper(lambda rows: 0.004), **options), Sleeper(lambda rows: 0.004)

    assert first.max_batch == 4 * MOST_BATCH
    assert tune(engine, **options) == first
    assert engine.rows_run < MOST_BATCH


def test_what_was_measured_on_one_device_is_not_taken_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Sleeper(lambda rows: 0.004), Sleeper(lambda rows: 0.004)
    tune(first, cache_directory=str(tmp_path))

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    tune(second, cache_directory=str(tmp_path))

    assert second.rows_run > MOST_BATCH


@pytest.mark.parametrize("ends", [{"graph_inputs": ["x"], "graph_outputs": ["y"]}, {"graph_outputs": ["z"]}])
def test_what_was_measured_of_a_graph_is_not_taken_for_other_ends_of_it(tmp_path: Path, ends: dict[str, Any]) -> None:
    first, second = Sleeper(lambda rows: 0.004), Sleeper(lambda rows: 0.004)
    tune(first, cache_directory=str(tmp_path), graph_outputs=["y"])

    tune(second, cache_directory=str(tmp_path), **ends)

    assert second.rows_run > MOST_BATCH


def test_a_model_that_mixes_its_rows_is_said_to() -> None:
    class Summing(Sleeper):
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": inputs["x"].sum(axis=0, keepdims=True)}

    tuned = tune(Summing(lambda rows: 0.0))

    assert (tuned.is_batchable, tuned.max_batch) == (False, 1)


def test_a_row_that_is_answered_otherwise_beside_others_is_noticed() -> None:
    class Centring(Sleeper):
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": inputs["x"] - inputs["x"].mean(axis=0)}

    tuned = tune(Centring(lambda rows: 0.0))

    assert (tuned.is_batchable, tuned.max_batch) == (False, 1)


def test_a_model_that_answers_otherwise_each_time_takes_many_rows_nevertheless() -> None:
    class Rolling(Sleeper):
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": np.random.default_rng().random(inputs["x"].shape)}

    assert tune(Rolling(lambda rows: 0.0)).is_batchable


@dataclass
class Reader:
    """An engine that makes a number of each text, and `answer` of those."""

    number: Callable[[bytes], float]
    answer: Callable[[Any], Any] = lambda numbers: numbers

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        numbers = np.array([[self.number(text) for text in row] for row in inputs["x"]], np.float32)
        return {"y": self.answer(numbers)}


def position(text: bytes) -> float:
    return {b"": 0, b"cat": 2, b"dog": 3}.get(text, 1)


@pytest.mark.parametrize(
    ("reader", "is_alone"),
    [
        (Reader(len, lambda numbers: numbers - numbers.mean(axis=0)), False),
        (Reader(len, lambda numbers: np.resize(numbers, (len(numbers), int(numbers.max())))), False),
        (Reader(len), True),
        (Reader(crc32), True),
        (Reader(position), True),
        (Reader({b"": 0.0}.__getitem__), False),
    ],
    ids=["centred", "as-long-as-the-longest", "words", "hashes", "a-vocabulary", "refuses-other-words"],
)
def test_rows_of_texts_are_tried_with_different_texts(reader: Any, is_alone: bool) -> None:
    assert answers_rows_alone(reader, {"x": texts.filled([2, 1], b"")}) == is_alone


STATISTICS = {
    "mean": lambda x: x - x.mean(),
    "largest": lambda x: x / x.max(),
    "least": lambda x: x - x.min(),
    "as-in-training": lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-3),
    "as-in-training-after-255": lambda x: (x / 255 - (x / 255).mean()) / np.sqrt((x / 255).var() + 1e-3),
    "a-large-one-of-a-row": lambda x: np.argmax(x.mean(axis=(1, 2))) + x * 0,
}


@pytest.mark.parametrize("statistic", STATISTICS.values(), ids=STATISTICS)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_statistic_over_all_rows_is_seen(statistic: Callable[[Any], Any], dtype: str) -> None:
    class Over:
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": statistic(inputs["x"].astype("float32"))}

    assert not answers_rows_alone(Over(), {"x": np.zeros((2, 8, 8), dtype)})  # type: ignore[arg-type]


def test_a_scale_that_all_rows_share_is_seen() -> None:
    """Of a model that is quantised while it computes."""

    class Quantised:
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            step = np.abs(inputs["x"]).max() / 127
            return {"y": np.rint(inputs["x"] / step) * step}

    assert not answers_rows_alone(Quantised(), {"x": np.zeros((2, 8), "float32")})  # type: ignore[arg-type]


def test_rounding_beside_large_values_is_no_dependence() -> None:
    class Rounding:
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": 1e-9 * inputs["x"] + (1e-7 if len(inputs["x"]) > 1 else 0.0)}

    assert answers_rows_alone(Rounding(), {"x": np.zeros((2, 8), "float32")})  # type: ignore[arg-type]


def test_a_vocabulary_that_ends_before_255_stands_in_no_way() -> None:
    class Embedding:
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {"y": np.arange(10.0)[inputs["x"].astype(int)]}

    assert answers_rows_alone(Embedding(), {"x": np.zeros((2, 4), "float32")})  # type: ignore[arg-type]


def test_a_lone_call_gets_all_cores_where_it_gains_by_them(tmp_path: Path) -> None:
    slow, fast = Sleeper(lambda rows: 0.008 * rows, parallel=2), Sleeper(lambda rows: 0.004 * rows)
    options = {"cache_directory": str(tmp_path)}

    first = load(slow, fast, **options)
    again = load(slow, fast, **options)

    assert (first.engine, first.alone) == (slow, fast)
    assert (again.engine, again.alone, again.tuned) == (slow, fast, first.tuned)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "litert"])
def test_a_tiny_model_runs_on_one_thread_where_others_would_spin(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning.os, "sched_getaffinity", lambda _: {0, 1})
    tiny, single = Sleeper(lambda rows: 2e-4), Sleeper(lambda rows: 2e-4)
    options = {"engine": engine, "cache_directory": str(tmp_path)}

    first = load(tiny, single, **options)
    again = load(single, **options)

    assert (first.engine, first.tuned.threads) == (single, 1)
    assert (again.engine, again.tuned) == (single, first.tuned)


def test_a_large_file_is_not_opened_twice_although_its_calls_are_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(tuning, "MOST_COMPILED_TWICE_BYTES", 10)
    table = Sleeper(lambda rows: 2e-4)

    assert load(table, engine="onnxruntime").engine is table


@pytest.mark.parametrize(
    ("engine", "options", "call_s"),
    [("tensorflow", {}, 2e-4), ("litert", {"threads": 2}, 2e-4), ("onnxruntime", {}, 4e-3)],
    ids=["another engine", "the version says how many", "not tiny"],
)
def test_other_models_keep_their_threads(engine: str, options: dict[str, Any], call_s: float) -> None:
    model = Sleeper(lambda rows: call_s)

    loaded = load(model, engine=engine, **options)

    assert (loaded.engine, loaded.tuned.threads) == (model, None)


@pytest.mark.parametrize("why", ["no gain", "all cores anyhow", "memory is limited", "a large file"])
def test_a_model_is_not_compiled_twice_for_nothing(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Sleeper(lambda rows: 0.008 * rows, parallel=1 if why == "all cores anyhow" else 2)
    fast = Sleeper(lambda rows: (0.008 if why == "no gain" else 0.004) * rows)
    options: dict[str, Any] = {"memory_limit_bytes": 10**9} if why == "memory is limited" else {}
    if why == "a large file":
        monkeypatch.setattr(tuning, "MOST_COMPILED_TWICE_BYTES", 10)

    first = load(slow, fast, cache_directory=str(tmp_path), **options)
    again = load(slow, fast, cache_directory=str(tmp_path), **options)

    assert (first.engine, first.alone, first.tuned.is_faster_alone) == (slow, None, False)
    assert (again.engine, again.alone, again.tuned.is_faster_alone) == (slow, None, False)


def test_a_lone_call_that_gained_nothing_is_measured_at_some_more_loads(tmp_path: Path) -> None:
    slow, fast = Sleeper(lambda rows: 0.008 * rows, parallel=2), Sleeper(lambda rows: 0.004 * rows)
    busy = Sleeper(lambda rows: 0.008 * rows)
    options = {"cache_directory": str(tmp_path)}

    loads = [load(slow, other, **options) for other in (busy, fast, fast)]
    assert [loaded.alone for loaded in loads] == [None, fast, fast]


def test_after_some_loads_it_is_not_measured_any_more(tmp_path: Path) -> None:
    slow, fast = Sleeper(lambda rows: 0.008 * rows, parallel=2), Sleeper(lambda rows: 0.004 * rows)
    busy = Sleeper(lambda rows: 0.008 * rows)
    options = {"cache_directory": str(tmp_path)}

    loads = [load(slow, other, **options) for other in (*[busy] * tuning.MOST_REFUSALS, fast)]
    assert [loaded.alone for loaded in loads] == [None] * 4
    assert fast.rows_run == 0


def test_a_model_that_cannot_be_compiled_twice_is_loaded_nevertheless() -> None:
    slow = Sleeper(lambda rows: 0.008 * rows, parallel=2)

    loaded = load(slow)

    assert (loaded.engine, loaded.alone, loaded.tuned.is_faster_alone) == (slow, None, False)


def test_a_model_whose_calls_take_long_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "BUDGET_S", 0.0)
    slow, fast = Sleeper(lambda rows: 0.08 * rows, parallel=2), Sleeper(lambda rows: 0.04 * rows)

    loaded = load(slow, fast)

    assert loaded.alone is fast
    assert fast.rows_run == 3, "two to warm up"
