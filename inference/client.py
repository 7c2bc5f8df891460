"""The web process's side of the runners' sockets: one multiplexed connection per runner and event loop."""

from __future__ import annotations

import asyncio
import itertools
import time
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from inference import texts, wire
from inference.alarm import Alarm
from inference.errors import ERRORS_BY_CODE, Busy, DeadlinePassed, PortalError, RunnerDied
from inference.served import ModelInput, Pictures, Served
from inference.signature import Signature

Array = np.ndarray[Any, Any]

CONNECT_LIMIT_S = 5.0
ANSWER_MARGIN_S = 0.5
"""The runner enforces the deadline itself; the web process stops waiting this much later."""
COOLDOWN_S = 1.0
_QUEUED = frozenset({"images", "tensors"})
FULL_S = 0.05
"""How long a runner counts as full after it answered Busy, unless another answer comes."""


class NotConnected(RunnerDied):
    """Nobody listens on the socket any more. Nothing was sent, so the request may be retried with another process."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A runner's answer: outputs by name, error messages of unreadable pictures by index, times in milliseconds, and
    the indices of pictures that are the first of several frames or pages in their file."""

    outputs: dict[str, Array]
    bad_images: dict[int, str]
    timing_ms: dict[str, float]
    first: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """A thumbnail of a picture with its full size in pixels, and the picture as the model gets it. Both should be PNGs,
    but the runner is untrusted."""

    thumbnail: bytes
    width: int
    height: int
    as_model: bytes


@dataclass(slots=True)
class _Waiting:
    """A request under way: the future of its answer, its deadline (the loop's clock)."""

    future: asyncio.Future[wire.Frame]
    until: float
    timeout_s: float


class Connection(asyncio.Protocol):
    """One stream to one runner, shared by all requests of an event loop.

    All requests share one deadline timer, and each is sent with a single write: a timer, a task and a lock per request
    cost more than a small model takes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._waiting: dict[int, _Waiting] = {}
        self._numbers = itertools.count(1)
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._alarm = Alarm(self._look_at_deadlines)
        self._room: asyncio.Event | None = None
        self._cooling_until = 0.0
        self._queue_limit = 0
        self._places: int | None = None
        self._full_until = 0.0
        self._refused = 0
        self._unasked = 0
        """How many frames may still come that answer no request: a greeting, and answers to requests given up."""

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    @property
    def is_cooling_down(self) -> bool:
        """Whether connecting failed a moment ago. Others then come first, although this one has no requests."""
        return time.monotonic() < self._cooling_until

    @property
    def is_full(self) -> bool:
        """Whether this process's own requests fill the runner, or the runner answered Busy a moment ago."""
        return (self._places is not None and len(self._waiting) >= self._places) or time.monotonic() < self._full_until

    def check_room(self) -> None:
        """Raises Busy if the queue seems full from here; the runner is told later how often that happened."""
        if self.is_full:
            self._refused += 1
            raise Busy.of(self._queue_limit)

    @property
    def is_unused(self) -> bool:
        return not self.is_open and not self.in_flight and self._opening is None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, header: Mapping[str, Any], body: Sequence[wire.Buffer], timeout_s: float) -> wire.Frame:
        """The runner's answer. Raises NotConnected if nobody listens, RunnerDied if the runner ends meanwhile,
        DeadlinePassed after `timeout_s` (connecting included), or ANSWER_MARGIN_S later once the request is sent.
        Cancelling this call frees the place in the runner's queue.

        Raises Busy if the runner's queue seems full, without asking: refusing a crowd would cost the runner more than
        its work, and take longer.
        """
        if header["kind"] in _QUEUED:
            self.check_room()
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        if not self.is_open:
            await self._open(timeout_s)
        if self._room is not None:  # the write buffer is full: the runner reads slower than we write
            await _until(end, self._room.wait(), timeout_s)
        transport = self._transport
        if transport is None or transport.is_closing():
            raise _not_connected()
        number = next(self._numbers)
        frame = wire.joined({"id": number, "timeout_s": end - loop.time(), **header}, body)
        future: asyncio.Future[wire.Frame] = loop.create_future()
        until = end + ANSWER_MARGIN_S
        self._waiting[number] = _Waiting(future, until, timeout_s)
        self._alarm.set(until)
        self._tell_refused()
        transport.write(frame)
        try:
            return await future
        finally:
            if self._waiting.pop(number, None) is not None and not transport.is_closing():
                self._unasked += 1
                transport.write(wire.joined({"id": number, "kind": "cancel"}))

    async def _open(self, timeout_s: float) -> None:
        """Connect, once for all waiting requests. Raises NotConnected."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
        try:
            await asyncio.wait_for(asyncio.shield(self._opening), min(CONNECT_LIMIT_S, timeout_s))
        except (OSError, TimeoutError):
            self._cooling_until = time.monotonic() + COOLDOWN_S
            raise _not_connected() from None

    async def _connect(self) -> None:
        try:
            self._decoder = wire.Decoder()
            await asyncio.get_running_loop().create_unix_connection(lambda: self, self.path)
        finally:
            self._opening = None

    def _look_at_deadlines(self) -> None:
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting.values():
            if waiting.until > now:
                self._alarm.set(waiting.until)
            elif not waiting.future.done():
                waiting.future.set_exception(_late(waiting.timeout_s))

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._unasked = 1

    def data_received(self, data: bytes) -> None:
        """Take in answers. A runner that sends frames nobody asked for is dropped: each takes 4 µs of the loop that
        serves all models."""
        try:
            frames = self._decoder.feed(data)
        except wire.WireError:
            self._drop()
            return
        for frame in frames:
            if "places" in frame.header:
                self._learn_places(frame.header)
            else:
                self._look_at_room(frame)
            number = frame.header.get("id")
            waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
            if waiting is None:
                self._unasked -= 1
                if self._unasked < 0:
                    self._drop()
                    return
            elif not waiting.future.done():
                waiting.future.set_result(frame)

    def _tell_refused(self) -> None:
        """Let the runner count the requests that were refused here."""
        if self._refused and self._transport is not None:
            self._transport.write(wire.joined({"kind": "refused", "requests": self._refused}))
            self._refused = 0

    def _learn_places(self, greeting: Mapping[str, Any]) -> None:
        """Read from the greeting how many requests fit at once. Invalid values are ignored."""
        places, queue_limit = greeting["places"], greeting.get("queue_limit")
        if isinstance(places, int) and isinstance(queue_limit, int):
            self._places, self._queue_limit = places, queue_limit

    def _look_at_room(self, frame: wire.Frame) -> None:
        error = frame.header.get("error")
        if isinstance(error, dict) and error.get("code") == Busy.code:
            self._full_until = time.monotonic() + FULL_S
        else:
            self._full_until = 0.0
            self._tell_refused()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = self._places = None
        self._full_until = 0.0
        self._alarm.stop()
        if self._room is not None:
            self._room.set()
            self._room = None
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            if not one.future.done():
                one.future.set_exception(_died())

    def pause_writing(self) -> None:
        self._room = asyncio.Event()

    def resume_writing(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Runners:
    """All connections of this process, opened when first needed."""

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Connection]] = (
            weakref.WeakKeyDictionary()
        )

    def connection(self, path: str) -> Connection:
        known = self._by_loop.get(asyncio.get_running_loop(), {})
        return known[path] if path in known else self._connections([path])[0]

    def _connections(self, paths: Sequence[str]) -> list[Connection]:
        """The connections to `paths`. Creating a new one drops unused connections to other paths."""
        known = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        if not all(path in known for path in paths):
            for gone in [path for path, one in known.items() if one.is_unused and path not in paths]:
                del known[gone]
            for path in paths:
                known.setdefault(path, Connection(path))
        return [known[path] for path in paths]

    def least_busy(self, paths: Sequence[str]) -> Connection:
        if len(paths) == 1:
            return self.connection(paths[0])
        return min(self._connections(paths), key=lambda known: (known.is_cooling_down, known.is_full, known.in_flight))

    def check_room(self, paths: Sequence[str]) -> None:
        """Raises Busy if none of these runners has room. Calling this before parsing a body refuses a crowd in half the
        time; `Connection.ask` checks again."""
        self.least_busy(paths).check_room()

    async def ask(
        self, served: Served, model_input: ModelInput, *, timeout_s: float | None = None, is_strict: bool = True
    ) -> Reply:
        """A version's answer, checked against its signature; `timeout_s` can only shorten its limit. If `is_strict`,
        nothing is run with one bad picture."""
        limit_s = served.timeout_s if timeout_s is None else min(timeout_s, served.timeout_s)
        if isinstance(model_input, Pictures):
            reply = await self.ask_images(served.paths, model_input.data, timeout_s=limit_s, is_strict=is_strict)
        else:
            reply = await self.ask_tensors(served.paths, model_input.inputs, timeout_s=limit_s)
        return _checked(reply, served.signature)

    async def ask_images(
        self, paths: Sequence[str], pictures: Sequence[wire.Buffer], *, timeout_s: float, is_strict: bool
    ) -> Reply:
        """Outputs for encoded pictures. With one bad picture nothing is run if `is_strict`, else the good ones are."""
        header = {"kind": "images", "sizes": [len(picture) for picture in pictures], "strict": is_strict}
        reply = _reply(await self.least_busy(paths).ask(header, pictures, timeout_s))
        if not all(0 <= index < len(pictures) for index in reply.bad_images):
            raise _invalid_answer()
        return reply

    async def ask_tensors(self, paths: Sequence[str], inputs: Mapping[str, Array], *, timeout_s: float) -> Reply:
        described, buffers = wire.describe_tensors(inputs)
        return _reply(await self.least_busy(paths).ask({"kind": "tensors", "tensors": described}, buffers, timeout_s))

    async def ask_seen(self, paths: Sequence[str], picture: bytes, *, timeout_s: float) -> Seen:
        """A thumbnail of the picture, and how the model gets it."""
        frame = await self.least_busy(paths).ask({"kind": "seen"}, [picture], timeout_s)
        _raise_error(frame)
        try:
            small, as_model = wire.split_body(frame.header["sizes"], frame.body)
            width, height = frame.header["pixels"]
            return Seen(bytes(small), int(width), int(height), bytes(as_model))
        except (wire.WireError, KeyError, TypeError, ValueError, OverflowError):
            raise _invalid_answer() from None

    async def ask_statistics(self, path: str, *, timeout_s: float) -> dict[str, Any]:
        """The statistics of one runner (inference/runner/statistics.py). They are untrusted: check the values."""
        frame = await self.connection(path).ask({"kind": "statistics"}, (), timeout_s)
        _raise_error(frame)
        figures = frame.header.get("statistics")
        if not isinstance(figures, dict):
            raise _invalid_answer()
        return figures


def _reply(frame: wire.Frame) -> Reply:
    """A frame as a Reply. The runner is untrusted: raises RunnerDied for an answer that makes no sense."""
    header = frame.header
    if "error" in header:
        _raise_error(frame)
    try:
        outputs = wire.read_tensors(header["tensors"], frame.body)
        bad = {int(i): str(message) for i, message in header.get("bad", {}).items()}
        timing = {str(name): float(value) for name, value in header.get("timing_ms", {}).items()}
        first = frozenset(header.get("first", ()))
    except (wire.WireError, KeyError, TypeError, ValueError, AttributeError):
        raise _invalid_answer() from None
    return Reply(outputs, bad, timing, first)


def _checked(reply: Reply, signature: Signature) -> Reply:
    """The reply, if it fits the signature: it has every output, and texts exactly where the signature says so. Where
    all pictures were bad, no outputs are needed. Raises RunnerDied."""
    if reply.outputs or not reply.bad_images:
        for spec in signature.outputs:
            array = reply.outputs.get(spec.name)
            if array is None or (array.dtype.kind == "O") != (spec.dtype == texts.DTYPE):
                raise _invalid_answer()
    return reply


def _raise_error(frame: wire.Frame) -> None:
    error = frame.header.get("error")
    if not isinstance(error, dict):
        return
    kind = ERRORS_BY_CODE.get(str(error.get("code")), PortalError)
    message = str(error.get("message", ""))[:2000] if kind is not PortalError else "The model met an internal error."
    retry_after_s = error.get("retry_after_s")
    raise kind(message, retry_after_s=retry_after_s if type(retry_after_s) is int else None)


async def _until(end: float, wait: Coroutine[Any, Any, Any], timeout_s: float) -> None:
    """Await `wait` until the loop's clock says `end`. Raises DeadlinePassed, whose message names `timeout_s`."""
    try:
        async with asyncio.timeout_at(end):
            await wait
    except TimeoutError:
        raise _late(timeout_s) from None


def _late(timeout_s: float) -> DeadlinePassed:
    return DeadlinePassed(f"The model did not answer within {timeout_s:g} s.")


def _invalid_answer() -> RunnerDied:
    return RunnerDied("The process of the model answered something that makes no sense.")


def _died() -> RunnerDied:
    return RunnerDied("The process of the model ended before it answered. It is started again by itself.")


def _not_connected() -> NotConnected:
    return NotConnected("The process of the model has ended. It is started again by itself.")


runners = Runners()
