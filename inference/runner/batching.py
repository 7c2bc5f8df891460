"""The queue in front of the engine: bounded; batches requests that fit together, drops those past their deadline.

The engine says how many threads call it (`Engine.callers`). While all are busy, requests gather for the next call; an
idle engine starts immediately (`max_wait_s` 0). So a single client never waits for a batch to fill, and many clients
share one call. Where several threads run calls of one row, they also make that row (`submit_unmade`): a picture is then
decoded and run without a thread switch, which saves 7 % of all processor time with MobileNetV2.

Where each call uses one core, a lone request would leave the others idle. So `alone`, if there is one, runs it unless
others came shortly before: the same model on all cores. Requests that arrive meanwhile go to the engine.

A tiny model without loops has no threads: the event loop runs the queue itself (`run_waiting`), because handing a call
to a thread and its answer back takes longer than the call.

A request with more rows than one call takes is split into parts step by step: one part per thread is queued, and the
next when one is taken. So requests behind it wait for one call, not for millions of rows.

On a GPU each call is padded to a number of rows that was run at the load (`row_counts`), because for each new number
cuDNN tries its algorithms, for up to a second (docs/adr/0019).
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from inference.engines import Engine, first_line
from inference.errors import BadInput, Busy, DeadlinePassed, EngineFailed, NotLoaded
from inference.runner.batch_rules import (
    BatchRules,
    has_fixed_sizes,
    is_batch_of_one,
    is_batchable,
    is_padded,
    row_counts,
)
from inference.runner.calls import NO_PARTS, Array, Call, Part, Work, stack
from inference.runner.shortage import is_for_memory
from inference.signature import Signature

ALONE_FOR_S = 0.05
"""How long a request must have had no company to be run by `alone`. Otherwise one of two alternating clients would
sometimes be, and take a core from the other's call."""
_UNEQUAL = "The inputs hold different numbers of examples."


class Batcher:
    """Runs an engine on its own threads, if `has_threads`. All methods may be called from any thread.

    `on_done` is called after every call, on its thread. A request takes a place in the queue by `reserve` or `submit`
    and gives it back when its first part leaves the queue, or by `withdraw`.
    """

    def __init__(
        self,
        engine: Engine,
        rules: BatchRules,
        *,
        queue_limit: int,
        on_done: Callable[[Call], None],
        on_bug: Callable[[BaseException], None],
        alone: Engine | None = None,
    ) -> None:
        self._engine = engine
        self._alone = alone
        self._is_fixed_at_one = is_batch_of_one(engine.signature)
        self._is_batchable = rules.is_batchable and is_batchable(engine.signature)
        self._max_batch = rules.max_batch if self._is_batchable else 1
        self._row_counts = row_counts(self._max_batch) if is_padded(engine) and self._is_batchable else []
        self._max_wait_s = rules.max_wait_s
        self._queue_limit = queue_limit
        self._on_done = on_done
        self._on_bug = on_bug
        self._queue: deque[Part] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        """That there is work for the engine's threads, or that they are to end."""
        self._is_closed = False
        self._threads = engine.callers
        self._running_since: list[float | None] = [None] * self._threads
        self._has_work = [False] * self._threads
        self._contended_at = 0.0
        is_steady = has_fixed_sizes(engine.signature) and not engine.may_loop
        self.has_threads = not (rules.is_brief and self._threads == 1 and is_steady)

    def start(self) -> None:
        for number in range(self._threads if self.has_threads else 0):
            threading.Thread(target=self._serve, args=(number,), name=f"engine{number}", daemon=True).start()

    @property
    def makes_inputs(self) -> bool:
        """Whether the engine's threads should make the inputs: if there are several, and each call takes one row."""
        return self._threads > 1 and self._max_batch == 1

    @property
    def places(self) -> int:
        """The most requests that can be here at once: the waiting ones, and those being run with one row each."""
        return self._queue_limit + self._threads * self._max_batch

    @property
    def depth(self) -> int:
        """Requests that wait, without those being run."""
        return self._waiting

    @property
    def is_saturated(self) -> bool:
        """Whether at least as many requests wait as the engine has threads."""
        return self._waiting >= self._threads

    @property
    def running_s(self) -> float:
        """Seconds since the oldest call still running began, 0 while idle."""
        began = [since for since in self._running_since if since is not None]
        return time.monotonic() - min(began) if began else 0.0

    def reserve(self, work: Work) -> None:
        """Take a place for a request whose pictures are still being decoded. Raises Busy, NotLoaded after `close`."""
        with self._lock:
            self._take_place(work)

    def submit(self, work: Work, inputs: Mapping[str, Array]) -> None:
        """Queue the request. Raises Busy if the queue is full, NotLoaded after `close`, BadInput."""
        self._submit(work, self._split(work, inputs))

    def submit_unmade(self, work: Work, make: Callable[[], Mapping[str, Array]]) -> None:
        """Queue a request of one row whose inputs `make` makes when its turn comes; see `makes_inputs`."""
        self._submit(work, iter([Part(work, {}, 1, [], make=make)]))

    def _submit(self, work: Work, parts: Iterator[Part]) -> None:
        with self._lock:
            if work.is_over:  # withdrawn while its pictures were decoded
                return
            if not work.has_place:
                self._take_place(work)
            work.queued_at = time.monotonic()
            work.uncut = parts
            for _ in range(self._threads):
                self._queue_next(work)
            if self.has_threads:
                self._changed.notify(work.queued)

    def _queue_next(self, work: Work) -> None:
        part = next(work.uncut, None)
        if part is not None:
            work.parts.append(part)
            work.queued += 1
            self._queue.append(part)

    def run_waiting(self, for_s: float) -> bool:
        """Run the queue on this thread for about `for_s` (batcher without threads). Returns whether any is left."""
        until = time.monotonic() + for_s
        try:
            while self._queue and time.monotonic() < until:
                with self._lock:
                    batch, late = self._next_parts()
                if late:
                    self._on_done(Call(late))
                if batch:
                    self._run(batch, 0)
        except BaseException as bug:
            self._on_bug(bug)
        return bool(self._queue)

    def withdraw(self, work: Work) -> None:
        """Nobody waits for it any more: free its place, and remove its parts from the queue immediately.

        Otherwise they would stay until the engine is free, and clients that give up early could send any amount.
        """
        with self._lock:
            work.is_over = True
            self._give_place_back(work)
            work.uncut = NO_PARTS
            if work.queued:
                work.queued = 0
                self._queue = deque(part for part in self._queue if part.work is not work)

    def close(self) -> None:
        """Take no more requests; what is queued is still run."""
        with self._lock:
            self._is_closed = True
            self._changed.notify_all()

    def _take_place(self, work: Work) -> None:
        if self._is_closed:
            raise NotLoaded("The model is being unloaded.")
        if self._waiting >= self._queue_limit:
            raise Busy.of(self._queue_limit)
        self._waiting += 1
        work.has_place = True

    def _give_place_back(self, work: Work) -> None:
        if work.has_place:
            work.has_place = False
            self._waiting -= 1

    def _split(self, work: Work, inputs: Mapping[str, Array]) -> Iterator[Part]:
        """Parts of at most one batch each; of one row each if the file fixes the batch at one."""
        size = self._max_batch if self._is_batchable else 1 if self._is_fixed_at_one else 0
        key = [array.shape[1:] for array in inputs.values()]
        rows = 1
        if size and inputs:
            rows, *others = {array.shape[0] for array in inputs.values()}
            if others:
                raise BadInput(_UNEQUAL)
        if rows <= size or not size:
            return iter([Part(work, inputs, rows, key)])
        return (
            Part(work, {name: array[at : at + size] for name, array in inputs.items()}, min(size, rows - at), key)
            for at in range(0, rows, size)
        )

    # ---- the engine's threads

    def _serve(self, number: int) -> None:
        try:
            while True:
                batch, late = self._take()
                self._has_work[number] = bool(batch)
                if late:
                    self._on_done(Call(late))
                if batch and self._make_inputs(batch[0]):
                    self._run(batch, number)
                elif batch:
                    self._has_work[number] = False
                    self._on_done(Call(batch))
                elif not late:
                    return
        except BaseException as bug:
            self._on_bug(bug)

    def _take(self) -> tuple[list[Part], list[Part]]:
        """The next parts to run in one call, and those past their deadline; both empty once closed and drained."""
        with self._lock:
            while True:
                while not self._queue:
                    if self._is_closed:
                        return [], []
                    self._changed.wait()
                if self._max_wait_s:
                    self._linger()
                batch, late = self._next_parts()
                if batch or late:
                    return batch, late

    def _linger(self) -> None:
        """Wait for a batch to fill, at most until its first request has waited `max_wait_s`."""
        until = self._queue[0].work.queued_at + self._max_wait_s
        while len(self._queue) < self._max_batch and not self._is_closed and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _next_parts(self) -> tuple[list[Part], list[Part]]:
        batch: list[Part] = []
        late: list[Part] = []
        rows, now = 0, time.monotonic()
        most = self._max_batch if self._threads == 1 else min(self._max_batch, -(-len(self._queue) // self._threads))
        while self._queue:
            part = self._queue[0]
            if batch and (rows + part.rows > most or part.key != batch[0].key):
                break
            self._queue.popleft()
            part.work.queued -= 1
            self._give_place_back(part.work)
            if part.work.deadline <= now:
                part.error = DeadlinePassed("The request waited longer than its limit.")
                late.append(part)
                continue
            self._queue_next(part.work)
            batch.append(part)
            rows += part.rows
        return batch, late

    def _make_inputs(self, part: Part) -> bool:
        """Make the part's inputs if it has `make`. Returns False if the part has an error instead."""
        if part.make is not None:
            try:
                part.inputs = part.make()
            except Exception as error:
                part.error = error
        return part.error is None

    def _run(self, batch: Sequence[Part], number: int, *, may_pad: bool = True) -> None:
        began = self._running_since[number] = time.monotonic()
        rows = sum(part.rows for part in batch)
        padding = self._padding(rows) if may_pad and self._row_counts else 0
        try:
            outputs = self._engine_at(began).run(stack(batch, padding))
            is_shared = len(batch) > 1 or padding > 0
            if is_shared and any(tensor.shape[:1] != (rows + padding,) for tensor in outputs.values()):
                raise ValueError("the answers cannot be told apart")  # then each is run alone
            if padding:
                outputs = {name: tensor[:rows] for name, tensor in outputs.items()}
        except Exception as error:
            self._running_since[number] = None
            if len(batch) > 1:
                for part in batch:  # one request must not fail the others
                    self._run([part], number)
                return
            if padding:
                self._run(batch, number, may_pad=False)
                return
            outputs = {}
            batch[0].error = _client_error(error, batch[0].inputs, self._engine.signature)
        ended = time.monotonic()
        self._running_since[number] = None
        at = 0
        for part in batch:
            part.began, part.ended = began, ended
            part.outputs = (
                outputs if len(batch) == 1 else {name: tensor[at : at + part.rows] for name, tensor in outputs.items()}
            )
            at += part.rows
        self._has_work[number] = False
        self._on_done(Call(batch, rows, ended - began))

    def _padding(self, rows: int) -> int:
        """How many rows to add so that the call has a number of rows that was run at the load."""
        if not rows:
            return 0
        return self._row_counts[bisect.bisect_left(self._row_counts, rows)] - rows

    def _engine_at(self, now: float) -> Engine:
        """`alone` if for ALONE_FOR_S no request has waited and no other thread has had work; else the engine."""
        if self._alone is None:
            return self._engine
        if self._waiting or self._queue or sum(self._has_work) > 1:
            self._contended_at = now
        return self._alone if now - self._contended_at > ALONE_FOR_S else self._engine


def _client_error(error: Exception, inputs: Mapping[str, Array], signature: Signature) -> Exception:
    """The error for the client after the engine failed."""
    if isinstance(error, BadInput):
        return error
    of_examples = [spec.name for spec in signature.inputs if spec.shape and spec.shape[0] is None]
    if len({inputs[name].shape[:1] for name in of_examples if name in inputs}) > 1 and not is_for_memory(error):
        return BadInput(f"{_UNEQUAL} The engine says: {first_line(error)}")
    return EngineFailed(f"The engine failed on this input: {first_line(error)}")
