"""The work of a measuring child process: opens one file in one engine, runs it and times it."""

from __future__ import annotations

import dataclasses
import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from inference.catalog import ENGINES
from inference.engines import Engine, EngineSettings, ModelUnusable, Tensors, first_line, open_engine
from inference.errors import BadInput
from inference.host.processes import memory_bytes
from inference.limited_child import Message
from inference.limited_child.report import Report
from inference.runner.batch_rules import is_batch_of_one, is_batchable
from inference.runner.tuning import most_streams
from inference.signature import Signature
from inference.tensors import check_width

Array = np.ndarray[Any, Any]
BATCHES = (1, 2, 4, 8, 16)
LEAST_RUNS = 5
WINDOWS = 3
MOST_RUNS = 2000
NO_HOPE = 0.7
"""Larger batches are not tried once one does less than this share of the best."""
LONG_CALL_S = 2.0
"""Nor once calls end this far apart: a larger batch would take too long. ConvNeXtXLarge takes 45 s for 16 rows."""


def work(request: Message, report: Report) -> dict[str, Any]:
    """The figures, `output_names` and `names_together`, or `{"error": sentence}`."""
    try:
        return _measure(request)
    except (ModelUnusable, BadInput) as refusal:
        return {"error": str(refusal)}
    except MemoryError:
        return {"error": "There was not enough memory."}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"The engine failed: {first_line(error)}"}


def _measure(request: Message) -> dict[str, Any]:
    name, path, file_format = str(request["engine"]), Path(request["path"]), str(request["format"])
    settings = EngineSettings(
        precision=str(request["precision"]),
        threads=request["threads"],
        names=dict(request["names"]),
        graph_inputs=tuple(request["graph_inputs"]),
        graph_outputs=tuple(request["graph_outputs"]),
        is_trusted=bool(request["is_trusted"]),
        signature=Signature.from_json(request["signature"]) if request["signature"] else None,
    )
    began = time.perf_counter()
    engine = open_engine(name, path, file_format, settings)
    inputs = _inputs(request)
    if ENGINES[name].is_narrow:
        check_width(inputs)
    rows = _rows(engine, inputs)
    first = engine.run(_cut(engine, inputs, 0, rows))
    load_s = time.perf_counter() - began
    latencies = _latencies(engine, inputs, rows, float(request["latency_s"]))
    memory = memory_bytes(os.getpid()) or 0
    outputs = _answers(engine, inputs, rows, first)
    together = _answers_together(engine, _pair(inputs))
    np.savez(request["outputs"], *map(_storable, (*outputs.values(), *together.values())))
    if (streams := most_streams(name, settings.threads)) > 1:  # as its runner would open it under load
        engine = open_engine(name, path, file_format, dataclasses.replace(settings, streams=streams))
    batch, per_second = _best_batch(engine, inputs, float(request["batch_s"]))
    return {
        "output_names": list(outputs),
        "names_together": list(together),
        "is_on_gpu": engine.device.startswith("gpu"),
        "load_seconds": round(load_s, 3),
        "p50_ms": round(float(np.percentile(latencies, 50)) * 1000, 3),
        "p99_ms": round(float(np.percentile(latencies, 99)) * 1000, 3),
        "best_batch": batch,
        "per_second": round(per_second, 2),
        "memory_bytes": memory,
    }


def _inputs(request: Message) -> dict[str, Array]:
    with np.load(request["inputs"], allow_pickle=False) as given:
        return {str(name): _stored(given[f"arr_{i}"]) for i, name in enumerate(request["input_names"])}


def _storable(array: Array) -> Array:
    """The array as an npz file can hold it, without objects: texts get a fixed length."""
    return array.astype("S") if array.dtype.kind == "O" else array


def _stored(array: Array) -> Array:
    return array.astype(object) if array.dtype.kind == "S" else array


def _rows(engine: Engine, inputs: Tensors) -> int:
    """Rows in a call: as many as the file fixes, else one; all where an input has no batch axis. Of several numbers the
    smallest: the other inputs are whole (see `_whole`)."""
    specs = engine.signature.inputs
    sizes = [spec.shape[0] for spec in specs if spec.shape]
    fixed = [size for size in sizes if size]
    if fixed and len(fixed) == len(sizes):
        return min(fixed)
    if specs and all(spec.shape for spec in specs):
        return 1
    return max((len(array) for array in inputs.values() if array.ndim), default=1)


def _whole(engine: Engine, rows: int) -> set[str]:
    """The inputs without a batch axis: a scalar, or an axis of another size in front."""
    return {spec.name for spec in engine.signature.inputs if not spec.shape or spec.shape[0] not in (None, 1, rows)}


def _examples(engine: Engine, rows: int) -> int:
    """How many examples these rows are: one where the answers have another number of rows, as for a network of sound
    that takes 15,600 samples without a batch."""
    answered = {spec.shape[0] for spec in engine.signature.outputs if spec.shape}
    return rows if answered and answered <= {None, rows} else 1


def _cut(engine: Engine, inputs: Tensors, start: int, rows: int) -> dict[str, Array]:
    return _each(engine, inputs, rows, lambda array: array[start : start + rows])


def _filled(engine: Engine, inputs: Tensors, rows: int) -> dict[str, Array]:
    return _each(engine, inputs, rows, lambda array: np.ascontiguousarray(np.resize(array, (rows, *array.shape[1:]))))


def _each(engine: Engine, inputs: Tensors, rows: int, take: Callable[[Array], Array]) -> dict[str, Array]:
    """`take` applied to the inputs, but for the whole ones."""
    whole = _whole(engine, rows)
    return {name: array if name in whole else take(array) for name, array in inputs.items()}


def _answers(engine: Engine, inputs: Tensors, rows: int, first: dict[str, Array]) -> dict[str, Array]:
    whole = _whole(engine, rows)
    total = max((len(array) for name, array in inputs.items() if name not in whole), default=rows)
    parts = [first, *(engine.run(_cut(engine, inputs, at, rows)) for at in range(rows, total - rows + 1, rows))]
    return {name: _joined([np.atleast_1d(part[name]) for part in parts]) for name in first}


def _joined(parts: list[Array]) -> Array:
    """The parts concatenated; as one row of all values where sizes differ, as with what is found in each example."""
    if len({part.shape[1:] for part in parts}) > 1:
        parts = [part.reshape(1, -1) for part in parts]
        return np.concatenate(parts, axis=1)
    return np.concatenate(parts)


def _answers_together(engine: Engine, pair: Tensors) -> dict[str, Array]:
    """The outputs for a request of two rows, run as a runner would; empty where the engine does not take it."""
    try:
        if is_batch_of_one(engine.signature):
            return _answers(engine, pair, 1, engine.run(_cut(engine, pair, 0, 1)))
        return engine.run(pair)
    except Exception:
        return {}


def _pair(inputs: Tensors) -> dict[str, Array]:
    """The first two rows, the second with values closer together and lower, so that a mean, maximum or minimum over
    both rows is not each row's own."""
    return {name: _narrowed(array[:2]) if array.ndim else array for name, array in inputs.items()}


def _narrowed(pair: Array) -> Array:
    row = pair[1:]
    if not row.size or row.dtype.kind not in "fiu":
        return pair
    low, high = row.min(), row.max()
    divide = np.divide if row.dtype.kind == "f" and (row % 1).any() else np.floor_divide  # word indices stay whole
    return np.concatenate([pair[:1], low + divide(high - low, 10) + divide(row - low, 2)])


def _latencies(engine: Engine, inputs: Tensors, rows: int, seconds: float) -> list[float]:
    one = _cut(engine, inputs, 0, rows)
    engine.run(one)
    return list(_timed(lambda: engine.run(one), seconds))


def _best_batch(engine: Engine, inputs: Tensors, seconds: float) -> tuple[int, float]:
    """The size of batch with the most examples a second."""
    sizes = BATCHES if is_batchable(engine.signature) else (_rows(engine, inputs),)
    best = (sizes[0], 0.0)
    for size in sizes:
        calls_per_second = _calls_per_second(engine, _filled(engine, inputs, size), seconds)
        examples = _examples(engine, size)
        speed = examples * calls_per_second
        is_hopeless = speed < NO_HOPE * best[1]
        if speed > best[1]:
            best = (examples, speed)
        if is_hopeless or calls_per_second < 1 / LONG_CALL_S:
            break
    return best


def _calls_per_second(engine: Engine, batch: Tensors, seconds: float) -> float:
    """The best of a few windows, because other load on the machine can only make a window slower; one window where a
    call takes as long as all of them."""
    began = time.perf_counter()
    engine.run(batch)  # the first call of a new shape allocates its memory
    windows = WINDOWS if time.perf_counter() - began < seconds else 1
    return max(_calls_in_window(engine, batch, seconds / windows) for _ in range(windows))


def _calls_in_window(engine: Engine, batch: Tensors, seconds: float) -> float:
    threads = engine.callers  # as its runner does
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        counts = list(pool.map(lambda _: len(list(_timed(lambda: engine.run(batch), seconds))), range(threads)))
        return sum(counts) / (time.perf_counter() - began)


def _timed(call: Callable[[], object], seconds: float) -> Iterator[float]:
    """Seconds of each call, for `seconds` in all; longer for the first few calls, but not beyond four times that."""
    began = time.perf_counter()
    for count in range(MOST_RUNS):
        before = time.perf_counter()
        passed = before - began
        if (passed > seconds and count >= LEAST_RUNS) or (passed > 4 * seconds and count):
            return
        call()
        yield time.perf_counter() - before
