"""Finds the fastest way to use an engine here: how many parallel calls, how many rows in each, and lone calls.

OpenVINO runs calls in parallel, one core each. With every model tried that was the fastest under load, whatever a short
measurement of an idle machine says: one stream of two threads waits for the slower of the two, and spins meanwhile, so
MobileNetV2 takes 9.5 ms of processor time per picture instead of 7.5. Only the tiniest models run one call at a time.
But a lone request would leave the other cores idle. If using them is worth it, the model is compiled a second time, for
one call on all cores.

Both are measured at the load, after the warm-up, for about a second, and stored with what the engine compiled, so the
next load of the same file with the same number of cores does not measure again. The version's options take precedence.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.catalog import ENGINES
from inference.engines import Engine, ModelUnusable
from inference.free_sizes import free_sizes
from inference.garbage import give_memory_back
from inference.refusal import speed_words
from inference.runner.batch_rules import BatchRules, is_batchable, is_padded, row_counts
from inference.runner.config import MOST_BATCH, RunnerConfig
from inference.runner.independence import answers_rows_alone
from inference.runner.shortage import is_for_memory

logger = logging.getLogger("runner")

Array = np.ndarray[Any, Any]
Open = Callable[[int, int | None], Engine]
"""Loads the model for this many parallel calls, on this many threads (None: as the engine chooses)."""

BUDGET_S = 1.0
"""With half of it, MobileNetV2 in TensorFlow on a busy machine ended up with two rows; 4 or 8 are a third faster."""
WINDOW_S = 0.03
"""How long each batch size is measured per round."""
WARM_UP_S = 0.01
MAY_COST = 0.9
"""If one call uses all cores, more rows are taken while they keep this share of the best throughput: waiting requests
then need fewer calls, and a short measurement on a busy machine does not end at one row by chance."""
WORTH_MEMORY = 1.1
"""If the version limits the memory, more rows must raise throughput by this factor, because each takes memory."""
WORTH_MORE_ROWS_SIDE_BY_SIDE = 1.3
"""If calls run in parallel, more rows must raise throughput by this factor, because only calls of one row make their
inputs themselves (batching.py). Large dense layers gain several times as much: all rows share one read of weights."""
TINY_S = 0.001
"""A model this fast spends its time on calls and threads: it gets one call at a time, with many rows, on one thread.
More threads would spin between calls: in OpenVINO the 8×8 digits then took 0.70 ms of processor time a request, not
0.42; in ONNX Runtime 4 and 16 clients got 1,314 and 2,050 a second, on one thread 2,086 and 2,892 (two cores)."""
BRIEF_S = 0.001
"""A call this short, with all its rows, is made by the thread that reads the requests: nobody notices the wait."""
WORTH_COMPILING_TWICE = 1.25
"""How many times faster a lone call must be on all cores. MobileNetV2 with two: 4.5 ms on one, 2.3 on both (1.6 times
faster if they are hyperthreads of one core); it costs 27 MB, and 0.05 s at the load."""
MOST_REFUSALS = 3
"""It is tried at up to this many loads if found not worth it: at one of them the other cores may just have been busy.
Each try takes 0.25 s."""
MOST_COMPILED_TWICE_BYTES = 2**29
"""A larger file is compiled only once: each compilation has its own copy of the weights."""
_FILE = "tuned.json"
_RULES = 13
"""Version of the measuring rules: results of older versions are ignored."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The result of tuning; `per_second` is in rows, 0 if nothing was measured."""

    streams: int
    max_batch: int
    threads: int | None = None
    is_batchable: bool = True
    per_second: float = 0.0
    is_faster_alone: bool = False
    """Whether faster lone calls on all cores are worth a second compilation."""
    times_refused: int = 0
    """At how many loads that was measured and found not to be so."""

    def rules(self, config: RunnerConfig) -> BatchRules:
        rows = config.max_batch or self.max_batch
        is_brief = config.max_wait_ms == 0 and 0 < rows < BRIEF_S * self.per_second
        return BatchRules(rows, config.max_wait_ms / 1000, self.is_batchable, is_brief)

    def sentence(self, config: RunnerConfig) -> str:
        """For the log."""
        rate = f", {speed_words(self.per_second)} rows a second" if self.per_second else ""
        alone = ", a lone one on all cores" if self.is_faster_alone else ""
        return f"{self.streams} at a time, batches of {config.max_batch or self.max_batch}{rate}{alone}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The warmed-up model of a runner. `alone` is the same model compiled for lone calls on all cores; see `Tuned`."""

    engine: Engine
    tuned: Tuned
    alone: Engine | None = None


def most_streams(engine: str, threads: int | None) -> int:
    """How many parallel calls can be useful: one per core, or per thread if the version limits threads further."""
    if not ENGINES[engine].is_parallel:
        return 1
    cores = len(os.sched_getaffinity(0))
    return min(cores, threads or cores)


@dataclass(slots=True)
class Tuning:
    """Opens and measures the model of one runner. `zeros` makes inputs for an engine, with a number of rows and a size
    for free dimensions; `free` is the first of `free_sizes` that the model accepted."""

    config: RunnerConfig
    open: Open
    zeros: Callable[[Engine, int, int], Mapping[str, Array]]
    free: int = 0

    def load(self) -> Loaded:
        """The model and how to use it. Raises ModelUnusable, MemoryError."""
        known = _recall(self.config)
        streams = known.streams if known else most_streams(self.config.engine, self.config.threads)
        engine = self.open(streams, self.config.threads or (known.threads if known else None))
        call_s = self._warm_up(engine)
        if known is not None:
            return self._as_known(engine, known)
        if call_s is None:
            return Loaded(engine, Tuned(engine.parallel, 1, is_batchable=False))
        until = time.monotonic() + BUDGET_S
        if call_s < TINY_S and self._may_spin(engine):
            loaded = self._one_at_a_time(engine, until)
        else:
            loaded = self._perhaps_alone(engine, self._measure(engine, call_s, until))
        _remember(self.config, loaded.tuned)
        return loaded

    def _as_known(self, engine: Engine, known: Tuned) -> Loaded:
        if is_padded(engine) and known.is_batchable:
            self._run_row_counts(engine, known.rules(self.config).max_batch)
        if known.is_faster_alone:
            return Loaded(engine, known, self._open_alone())
        if not 0 < known.times_refused < MOST_REFUSALS:
            return Loaded(engine, known)
        loaded = self._perhaps_alone(engine, known)
        _remember(self.config, loaded.tuned)
        return loaded

    def _warm_up(self, engine: Engine) -> float | None:
        """Seconds of the fastest of a few predictions after the first, which includes tracing. None if all fail; real
        requests will show why. Raises MemoryError."""
        sizes = [self.free] if self.free else free_sizes(engine.signature.inputs)
        for size in sizes:
            try:
                inputs = self.zeros(engine, 1, size)
                outputs = engine.run(inputs)
                if size == sizes[-1] or all(array.size for array in outputs.values()):  # empty: the size was too small
                    self.free = size
                    return _best_call(engine, inputs, time.monotonic() + WARM_UP_S)
            except Exception as error:
                if is_for_memory(error) and size == sizes[0]:
                    raise MemoryError from error
                sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
                logger.warning("warm-up skipped: %s", sentence)
        return None

    def _rows(self, engine: Engine, rows: int) -> Mapping[str, Array]:
        return self.zeros(engine, rows, self.free)

    def _may_spin(self, engine: Engine) -> bool:
        """Whether the engine uses several threads that spin. False for a large file, which is not opened again."""
        if not ENGINES[self.config.engine].is_spinning or self._is_large:
            return False
        return engine.parallel > 1 or (self.config.threads is None and len(os.sched_getaffinity(0)) > 1)

    def _one_at_a_time(self, engine: Engine, until: float) -> Loaded:
        """The tiny model in one stream, on one thread or `config.threads`."""
        threads = self.config.threads or 1
        single = self.open(1, threads)
        call_s = self._warm_up(single)
        if call_s is None:
            return Loaded(engine, Tuned(engine.parallel, 1))
        del engine
        give_memory_back()
        return Loaded(single, replace(self._measure(single, call_s, until), threads=threads))

    def _perhaps_alone(self, engine: Engine, tuned: Tuned) -> Loaded:
        """Compile the model a second time for lone calls, if that is worth it. Both are measured alternately, because
        the machine may be busy at times: four times, or less often if a call takes long."""
        alone = self._open_alone() if self._may_compile_twice(engine) else None
        if alone is None:
            return Loaded(engine, tuned)
        inputs = self._rows(engine, 1)
        call_s = alone_s = float("inf")
        until = time.monotonic() + BUDGET_S
        for _ in range(4):
            call_s = min(call_s, _best_call(engine, inputs, time.monotonic() + WINDOW_S))
            alone_s = min(alone_s, _best_call(alone, inputs, time.monotonic() + WINDOW_S))
            if time.monotonic() > until:
                break
        if call_s > WORTH_COMPILING_TWICE * alone_s:
            return Loaded(engine, replace(tuned, is_faster_alone=True), alone)
        del alone
        give_memory_back()
        return Loaded(engine, replace(tuned, times_refused=tuned.times_refused + 1))

    def _may_compile_twice(self, engine: Engine) -> bool:
        return engine.parallel > 1 and not self.config.memory_limit_bytes and not self._is_large

    @property
    def _is_large(self) -> bool:
        return self.config.path.stat().st_size > MOST_COMPILED_TWICE_BYTES

    def _open_alone(self) -> Engine | None:
        """The warmed-up model for one call on all cores that the version may use. None if it cannot be opened again."""
        try:
            alone = self.open(1, self.config.threads)
            self._warm_up(alone)
        except (ModelUnusable, MemoryError) as error:
            logger.warning("not compiled once more for lone calls: %s", error or "too little memory")
            return None
        return alone

    def _measure(self, engine: Engine, call_s: float, until: float) -> Tuned:
        """The largest batch size that is worth it, as far as the time allows. All sizes are measured in two rounds, and
        the faster result counts: otherwise a busy moment would end the search for good."""
        if not is_batchable(engine.signature):
            return Tuned(engine.parallel, 1, per_second=1 / call_s)
        as_pixels = self.config.precision == "f32" and not engine.may_loop
        if not answers_rows_alone(engine, self._rows(engine, 2), as_pixels=as_pixels):
            logger.info("its rows depend on each other: each request is run by itself, and whole")
            return Tuned(engine.parallel, 1, None, False, 1 / call_s)
        if is_padded(engine):
            self._run_row_counts(engine, self.config.max_batch or MOST_BATCH)
            until = time.monotonic() + BUDGET_S
        worth, fastest = self._worth(engine), {1: call_s}
        for _ in range(2):
            if not self._measure_sizes(engine, fastest, worth, until):
                return Tuned(engine.parallel, 1, None, False, 1 / fastest[1])
        best, per_second = _largest_worth(fastest, worth)
        return Tuned(engine.parallel, best, None, True, per_second)

    def _run_row_counts(self, engine: Engine, most: int) -> None:
        """Run each of `row_counts` once, up to the first that fails, for memory say: requests of that size show why."""
        for rows in row_counts(most):
            try:
                engine.run(self._rows(engine, rows))
            except Exception as error:
                logger.info("%d rows in a call failed: %s", rows, str(error)[:200])
                return

    def _measure_sizes(self, engine: Engine, fastest: dict[int, float], worth: float, until: float) -> bool:
        """Measure calls of one row, two, four, while they are worth it, into `fastest`. Returns False if outputs and
        inputs differ in rows."""
        batch = 1
        while batch <= (self.config.max_batch or MOST_BATCH):
            cost_s = fastest.get(batch, 2 * fastest[max(1, batch // 2)])  # estimate for one call
            if time.monotonic() + 2 * cost_s > until:
                break
            inputs = self._rows(engine, batch)
            try:
                outputs = engine.run(inputs)
            except Exception as error:  # more rows than fit in memory, or than the model accepts
                if batch == 1:
                    raise
                logger.info("%d rows in a call failed: %s", batch, str(error)[:200])
                fastest[batch] = float("inf")
                break
            if any(tensor.shape[:1] != (batch,) for tensor in outputs.values()):
                return False
            call_s = _best_call(engine, inputs, min(until, time.monotonic() + WINDOW_S))
            fastest[batch] = min(call_s, fastest.get(batch, call_s))
            if _largest_worth(fastest, worth)[0] < batch:
                break
            batch *= 2
        return True

    def _worth(self, engine: Engine) -> float:
        """The factor by which throughput must change for more rows to be accepted."""
        if engine.parallel > 1:
            return WORTH_MORE_ROWS_SIDE_BY_SIDE
        return WORTH_MEMORY if self.config.memory_limit_bytes else MAY_COST


def _largest_worth(fastest: Mapping[int, float], worth: float) -> tuple[int, float]:
    """The most rows that are worth it, and the best rows per second; `fastest` holds seconds by the rows of a call."""
    best, per_second = 1, 1 / fastest[1]
    for batch, seconds in sorted(fastest.items()):
        if batch / seconds < worth * per_second and batch > 1:
            break
        best, per_second = batch, max(per_second, batch / seconds)
    return best, per_second


def _best_call(engine: Engine, inputs: Mapping[str, Array], until: float) -> float:
    """The fastest of several calls, at least one: other processes only ever make them slower."""
    best = float("inf")
    while True:
        began = time.monotonic()
        engine.run(inputs)
        now = time.monotonic()
        best = min(best, now - began)
        if now >= until:
            return max(best, 1e-6)


# ---- kept for the next load


def _key(config: RunnerConfig) -> list[Any]:
    """What the figures depend on, beside the file."""
    cores = len(os.sched_getaffinity(0))
    has_limit = bool(config.memory_limit_bytes)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    ends = [list(config.graph_inputs), list(config.graph_outputs)]
    return [_RULES, config.engine, config.precision, config.threads, config.max_batch, has_limit, cores, gpu, ends]


def _recall(config: RunnerConfig) -> Tuned | None:
    """The result of an earlier runner of this file; None if it is invalid or was measured in other conditions."""
    if not config.cache_directory:
        return None
    try:
        said = json.loads((Path(config.cache_directory) / _FILE).read_bytes())
        if said["key"] != _key(config):
            return None
        tuned = Tuned(**said["tuned"])
        cores = len(os.sched_getaffinity(0))
        counts = (tuned.streams, tuned.threads or 1)
        most_rows = config.max_batch or MOST_BATCH
        is_sound = all(1 <= int(count) <= cores for count in counts) and 1 <= int(tuned.max_batch) <= most_rows
        is_sound &= 0 <= int(tuned.times_refused) <= MOST_REFUSALS
        return tuned if is_sound else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(config: RunnerConfig, tuned: Tuned) -> None:
    if config.cache_directory:
        with contextlib.suppress(OSError):
            said = json.dumps({"key": _key(config), "tuned": asdict(tuned)})
            (Path(config.cache_directory) / _FILE).write_text(said)
