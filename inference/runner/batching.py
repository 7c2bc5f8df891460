"""The queue in front of the engine: bounded, gathers requests that fit together, drops what is too late.

One thread runs the engine. While it runs one batch, requests gather for the next; an idle engine starts at once
(`max_wait_ms` 0). So a single client never waits for a batch to fill, and many clients share one call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference.engines import Engine
from inference.errors import Busy, DeadlinePassed, EngineFailed, NotLoaded
from inference.signature import Signature

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Outputs by name, batch axis first, and where the time went (seconds)."""

    outputs: dict[str, Array]
    queue_s: float
    inference_s: float


@dataclass(eq=False, slots=True)
class Work:
    """One request's inputs (names and dtypes as the signature says), the moment after which nobody waits for it."""

    inputs: Mapping[str, Array]
    rows: int
    deadline: float
    future: Future[Answer] = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[tuple[int, ...], ...]:
        """Requests with equal keys can be run as one batch: the same shapes but for the batch axis."""
        return tuple(array.shape[1:] for array in self.inputs.values())


class Batcher:
    """Runs an engine on its own thread. `submit` may be called from any thread; a Work's future tells the outcome."""

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int,
        max_wait_s: float,
        queue_limit: int,
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._engine = engine
        self._max_batch = max_batch if is_batchable(engine.signature) else 1
        self._splits = _is_batch_of_one(engine.signature)
        self._max_wait_s = max_wait_s
        self._queue_limit = queue_limit
        self._on_bug = on_bug
        self._queue: deque[Work] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._running_since: float | None = None
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def max_batch(self) -> int:
        return self._max_batch

    @property
    def depth(self) -> int:
        """Requests that wait, without those being run."""
        return len(self._queue)

    @property
    def running_s(self) -> float:
        """Seconds since the current batch began, 0 while idle."""
        since = self._running_since
        return 0.0 if since is None else time.monotonic() - since

    def submit(self, work: Work) -> Future[Answer]:
        """Queue the work. Raises Busy at once where the queue is full, NotLoaded after `close`."""
        with self._changed:
            if self._is_closed:
                raise NotLoaded("The model is being unloaded.")
            if len(self._queue) >= self._queue_limit:
                raise Busy(f"{self._queue_limit} requests are waiting already. Try again in a second.", retry_after_s=1)
            self._queue.append(work)
            self._changed.notify()
        return work.future

    def close(self) -> None:
        """Take no more work; what is queued is still run."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _serve(self) -> None:
        try:
            while batch := self._take():
                self._running_since = time.monotonic()
                self._run(batch)
                self._running_since = None
        except BaseException as bug:
            self._on_bug(bug)

    def _take(self) -> list[Work]:
        """The next requests to run as one, empty once closed and drained. Expired and cancelled ones are dropped."""
        with self._changed:
            while True:
                while not self._queue:
                    if self._is_closed:
                        return []
                    self._changed.wait()
                if self._max_wait_s and len(self._queue) < self._max_batch and not self._is_closed:
                    self._changed.wait_for(lambda: len(self._queue) >= self._max_batch, self._max_wait_s)
                batch: list[Work] = []
                rows = 0
                now = time.monotonic()
                while self._queue:
                    work = self._queue[0]
                    if batch and (rows + work.rows > self._max_batch or work.key != batch[0].key):
                        break
                    self._queue.popleft()
                    if not work.future.set_running_or_notify_cancel():
                        continue
                    if work.deadline <= now:
                        work.future.set_exception(DeadlinePassed("The request waited longer than its limit."))
                        continue
                    batch.append(work)
                    rows += work.rows
                if batch:
                    return batch

    def _run(self, batch: Sequence[Work]) -> None:
        began = time.monotonic()
        try:
            outputs = self._execute(_stack(batch))
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(EngineFailed(f"The engine failed on this input: {_short(error)}"))
                return
            for work in batch:  # one request must not fail the others
                self._run([work])
            return
        took = time.monotonic() - began
        at = 0
        for work in batch:
            part = (
                outputs if len(batch) == 1 else {name: tensor[at : at + work.rows] for name, tensor in outputs.items()}
            )
            at += work.rows
            work.future.set_result(Answer(part, began - work.queued_at, took))

    def _execute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = next(iter(inputs.values())).shape[0] if self._splits else 1
        if rows == 1:
            return self._engine.run(inputs)
        parts = [self._engine.run({name: array[i : i + 1] for name, array in inputs.items()}) for i in range(rows)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def is_batchable(signature: Signature) -> bool:
    """Whether every input and output has a free batch axis in front, so that requests can be run together."""
    return all(spec.shape and spec.shape[0] is None for spec in (*signature.inputs, *signature.outputs))


def _is_batch_of_one(signature: Signature) -> bool:
    """Whether the file fixes the batch at one, so that several rows are run one after the other."""
    return bool(signature.inputs) and all(spec.shape and spec.shape[0] == 1 for spec in signature.inputs)


def _stack(batch: Sequence[Work]) -> Mapping[str, Array]:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([work.inputs[name] for work in batch]) for name in batch[0].inputs}


def _short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]
