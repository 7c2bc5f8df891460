"""Serves frames on the runner's socket: decode, queue, run, answer. A request gets one answer unless it is cancelled.

There is no task and no lock per request. The event loop reads a frame and takes a place in the queue for it; decoder
threads turn pictures into arrays (or the engine's threads do: see batching.py); the engine's threads run them; the loop
joins the parts and writes the answer. Only the loop's thread writes answers and counts.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference import tensors, wire
from inference.alarm import Alarm
from inference.catalog import ENGINES
from inference.engines import Engine
from inference.errors import (
    BadImage,
    BadInput,
    Busy,
    DeadlinePassed,
    EngineFailed,
    NotLoaded,
    PortalError,
    ValidationFailed,
)
from inference.images import decode_image, decode_picture
from inference.images.rendering import render_seen, render_thumbnail
from inference.preprocessing import ImagePlan, parse_preprocessing, plan_image
from inference.runner.batch_rules import BatchRules
from inference.runner.batching import Batcher
from inference.runner.calls import Call, Work
from inference.runner.coalescing import LONGEST_S, Coalescer
from inference.runner.config import MOST_PICTURES, RunnerConfig
from inference.runner.decoding import Decoders
from inference.runner.frames import FrameConnection
from inference.runner.log import RateLimited
from inference.runner.statistics import Statistics
from inference.signature import Signature, with_vocabularies

logger = logging.getLogger("runner")

Array = np.ndarray[Any, Any]
BRIEF_TURN_S = 0.005
"""How long the loop makes calls itself before it again reads, answers and sends heartbeats."""
_QUIET = frozenset({"busy", "not_loaded"})
"""May occur thousands of times a second under load: counted, not logged."""
REFUSALS_LOGGED = 5
"""Others logged per second: only 200 lines are kept, and those about the load are worth more."""


@dataclass(eq=False, slots=True, kw_only=True)
class Request(Work):
    """One frame being processed. Moments are monotonic."""

    connection: FrameConnection
    number: Any = None
    began: float = 0.0
    is_counted: bool = True
    decode_s: float = 0.0
    bad: dict[str, str] | None = None
    """For pictures: error messages of the unreadable ones, by index. None for tensors."""
    ended_parts: int = 0
    answer_bytes: int = 0
    """Size of the outputs of ended parts, while others are still being computed."""
    undecoded: int = 0
    pictures: list[Array | BadImage | None] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    """Indices of pictures that are the first of several in their file."""


class Server:
    """One model behind one listening Unix socket. `drain` ends it after answering the accepted requests."""

    def __init__(self, engine: Engine, config: RunnerConfig, rules: BatchRules, alone: Engine | None = None) -> None:
        self._config = config
        known = Signature.from_json(config.signature) if config.signature else engine.signature
        self._signature = with_vocabularies(engine.signature, known)
        self._is_narrow = ENGINES[config.engine].is_narrow
        self._decoders = Decoders(_end_process)
        self.statistics = Statistics()
        self.batcher = Batcher(
            engine,
            rules,
            alone=alone,
            queue_limit=config.queue_limit,
            on_done=self._call_done,
            on_bug=_end_process,
        )
        self._ended = Coalescer()
        self._refusals = RateLimited(logger.info, most_a_second=REFUSALS_LOGGED)
        self._requests: set[Request] = set()
        self._connections: set[FrameConnection] = set()
        self._alarm = Alarm(self._look_at_deadlines)
        self._is_draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._will_run = False

    @property
    def in_flight(self) -> int:
        return len(self._requests)

    async def start(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self.batcher.start()
        self._decoders.start()
        await self._loop.create_unix_server(self._connect, sock=listener)

    async def drain(self, grace_s: float) -> tuple[int, int]:
        """Refuse new requests and finish the others. Returns how many were finished and how many were cut off."""
        self._is_draining = True
        waiting = self.in_flight
        deadline = time.monotonic() + grace_s
        while (self.in_flight or self._unsent()) and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        self.batcher.close()
        cut_off = min(waiting, self.in_flight)
        return waiting - cut_off, cut_off

    def _unsent(self) -> int:
        return sum(connection.unsent_bytes for connection in self._connections)

    # ---- connections

    def _connect(self) -> FrameConnection:
        greeting = {"queue_limit": self._config.queue_limit, "places": self.batcher.places}
        connection = FrameConnection(self._read, self._lose, greeting)
        self._connections.add(connection)
        return connection

    def _lose(self, connection: FrameConnection) -> None:
        """The client is gone: drop its requests."""
        self._connections.discard(connection)
        self._forget_all(lambda request: request.connection is connection)

    def _read(self, connection: FrameConnection, header: dict[str, Any], body: memoryview) -> None:
        kind, number = header.get("kind"), header.get("id")
        if kind == "cancel":
            self._forget_all(lambda request: request.connection is connection and request.number == number)
            return
        if kind == "refused":
            self.statistics.count_refused(int(header["requests"]), Busy.code)
            return
        if kind == "statistics":
            connection.send({"id": number, "statistics": self._figures()})
            return
        request = Request(
            deadline=0.0, connection=connection, number=number, began=time.monotonic(), is_counted=kind != "seen"
        )
        self._requests.add(request)
        self.statistics.requests += request.is_counted
        try:
            self._begin(request, header, body)
        except Exception as error:
            self._refuse(request, error)

    def _figures(self) -> dict[str, Any]:
        return self.statistics.as_json(queue_depth=self.batcher.depth, in_flight=self.in_flight)

    def _forget(self, request: Request) -> None:
        self.batcher.withdraw(request)
        request.parts = []  # breaks the reference cycle, which would keep their arrays until the next collection
        self._requests.discard(request)

    def _forget_all(self, are_meant: Callable[[Request], bool]) -> None:
        for request in [request for request in self._requests if are_meant(request)]:
            self._forget(request)

    def _watch(self, request: Request) -> None:
        """Set the alarm for the request's deadline, or earlier for gathered calls."""
        until = request.deadline
        self._alarm.set(min(until, time.monotonic() + LONGEST_S) if self.batcher.has_threads else until)

    def _look_at_deadlines(self) -> None:
        self._take_calls()  # gathered calls that no later call has triggered
        now = time.monotonic()
        for request in [request for request in self._requests if request.deadline <= now]:
            limit_s = round(request.deadline - request.began, 2)  # the time left when the web process sent it
            self._refuse(request, DeadlinePassed(f"The model did not answer within {limit_s:g} s."))
        if self._requests:
            self._watch(min(self._requests, key=lambda request: request.deadline))

    # ---- from frame to queue

    def _begin(self, request: Request, header: Mapping[str, Any], body: memoryview) -> None:
        if self._is_draining:
            raise NotLoaded("The model is being unloaded.")
        try:
            request.deadline = request.began + min(float(header["timeout_s"]), self._config.predict_timeout_s)
            kind = header["kind"]
        except (KeyError, TypeError, ValueError):
            raise ValidationFailed("The frame has no kind or no timeout.") from None
        self._watch(request)
        if kind == "tensors":
            inputs = tensors.conform(wire.read_tensors(header.get("tensors", ()), body), self._signature)
            if self._is_narrow:
                tensors.check_width(inputs)
            self._submit(request, inputs)
        elif kind == "images":
            self._begin_images(request, header, body)
        elif kind == "seen":
            plan = self._plan
            self._decoders.do(functools.partial(self._see, request, body, plan))
        else:
            raise ValidationFailed("The frame asks for something unknown.")

    def _begin_images(self, request: Request, header: Mapping[str, Any], body: memoryview) -> None:
        """Queue pictures. The answer has one row per readable picture; `bad` names the others."""
        plan, is_strict = self._plan, bool(header.get("strict", True))
        pictures = wire.split_body(header.get("sizes", ()), body)
        if not 0 < len(pictures) <= MOST_PICTURES:
            raise ValidationFailed(f"Send between 1 and {MOST_PICTURES} pictures.")
        if (fixed := self._signature.inputs[0].shape[0]) not in (None, 1, len(pictures)):
            raise BadInput(f"The model takes {fixed} pictures at once; the request has {len(pictures)}.")
        request.bad = {}
        if len(pictures) == 1 and self.batcher.makes_inputs:
            self.batcher.submit_unmade(request, functools.partial(self._make_inputs, request, pictures[0], plan))
            return
        self.batcher.reserve(request)  # before decoding, so that a full queue refuses immediately
        request.pictures = [None] * len(pictures)
        request.undecoded = len(pictures)
        for place, picture in enumerate(pictures):
            self._decoders.do(functools.partial(self._decode, request, place, picture, plan, is_strict))

    @functools.cached_property
    def _plan(self) -> ImagePlan:
        if len(self._signature.inputs) != 1:
            raise ValidationFailed("The model takes several inputs. Send them as tensors.")
        return plan_image(parse_preprocessing(self._config.preprocessing), self._signature.inputs[0])

    def _make_inputs(self, request: Request, picture: memoryview, plan: ImagePlan) -> Mapping[str, Array]:
        """On the engine's thread. Its time does not count as queue time. Raises BadImage."""
        began = time.monotonic()
        decoded = decode_picture(picture, plan)
        inputs = {self._signature.inputs[0].name: decoded.values[None]}
        if decoded.is_first:
            request.first.append(0)
        request.decode_s = time.monotonic() - began
        request.queued_at += request.decode_s
        return inputs

    def _decode(self, request: Request, place: int, picture: memoryview, plan: ImagePlan, is_strict: bool) -> None:
        """On a decoder thread. A single picture is queued from here, several are collected in the loop."""
        if request.is_over:
            return
        try:
            decoded = decode_picture(picture, plan)
            request.pictures[place] = decoded.values
            if decoded.is_first:
                request.first.append(place)
        except BadImage as error:
            request.pictures[place] = error
        except Exception as error:
            self._in_loop(self._refuse, request, error)
            return
        if len(request.pictures) == 1 and self.batcher.has_threads:
            self._queue_pictures(request, is_strict)
        else:
            self._in_loop(self._one_decoded, request, is_strict)

    def _one_decoded(self, request: Request, is_strict: bool) -> None:
        request.undecoded -= 1
        if not request.undecoded:
            self._queue_pictures(request, is_strict)

    def _queue_pictures(self, request: Request, is_strict: bool) -> None:
        """Queue a request whose pictures are all decoded. Runs on the loop's thread if the engine has no threads."""
        request.decode_s = time.monotonic() - request.began
        decoded, request.pictures = request.pictures, []
        bad = {str(i): result.message for i, result in enumerate(decoded) if isinstance(result, BadImage)}
        good = [result for result in decoded if isinstance(result, np.ndarray)]
        request.bad = bad
        if bad and (is_strict or not good):
            self._in_loop(self._answer_bad, request)
            return
        try:
            stacked = good[0][None] if len(good) == 1 else np.stack(good)
            self._submit(request, {self._signature.inputs[0].name: stacked})
        except Exception as error:
            self._in_loop(self._refuse, request, error)

    def _submit(self, request: Request, inputs: Mapping[str, Array]) -> None:
        if not request.is_over:
            self.batcher.submit(request, inputs)
            if not self.batcher.has_threads and not self._will_run:
                assert self._loop is not None
                self._will_run = True
                self._loop.call_soon(self._run_waiting)  # after all frames that are here already were read

    def _run_waiting(self) -> None:
        self._will_run = self.batcher.run_waiting(BRIEF_TURN_S)
        if self._will_run:
            assert self._loop is not None
            self._loop.call_soon(self._run_waiting)

    def _see(self, request: Request, body: memoryview, plan: ImagePlan) -> None:
        """On a decoder thread: a thumbnail, and the picture as the model gets it, both as PNG."""
        try:
            small, size = render_thumbnail(body)
            as_model = render_seen(decode_image(body, plan), plan)
        except Exception as error:
            self._in_loop(self._refuse, request, error)
        else:
            header = {"tensors": [], "sizes": [len(small), len(as_model)], "pixels": size}
            self._in_loop(self._answer, request, header, [small, as_model])

    def _in_loop(self, do: Callable[..., None], *given: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(do, *given)

    # ---- from the engine to the client, on the loop's thread

    def _call_done(self, call: Call) -> None:
        """On the thread that made the call."""
        if not self.batcher.has_threads:
            self._take_call(call)
        elif self._ended.add(call, is_saturated=self.batcher.is_saturated):
            self._in_loop(self._take_calls)

    def _take_calls(self) -> None:
        for call in self._ended.take():
            self._take_call(call)

    def _take_call(self, call: Call) -> None:
        if call.rows:
            self.statistics.count_call(call.rows, call.seconds)
        for part in call.parts:
            request = part.work
            assert isinstance(request, Request)
            if request.is_over:
                continue
            if isinstance(part.error, BadImage):
                request.bad = {"0": part.error.message}
                self._answer_bad(request)
                continue
            if part.error is not None:
                self._refuse(request, part.error)
                continue
            request.ended_parts += 1
            try:
                if request.ended_parts == len(request.parts):
                    self._answer_outputs(request)
                else:
                    request.answer_bytes += sum(tensor.nbytes for tensor in part.outputs.values())
                    wire.check_size(request.answer_bytes)
            except wire.WireError as error:
                self._refuse(request, EngineFailed(f"The answer cannot be sent: {error}."))
            except Exception as error:  # outputs that cannot be sent fail this request only
                self._refuse(request, error)

    def _answer_outputs(self, request: Request) -> None:
        parts = request.parts
        outputs, began, ended = parts[0].outputs, parts[0].began, parts[0].ended
        if len(parts) > 1:
            outputs = {name: _joined([part.outputs[name] for part in parts]) for name in outputs}
            began, ended = min(part.began for part in parts), max(part.ended for part in parts)
        queue_s, decode_s, inference_s = began - request.queued_at, request.decode_s, ended - began
        described, buffers = wire.describe_tensors(outputs)
        header: dict[str, Any] = {
            "tensors": described,
            "timing_ms": {
                "queue": round(queue_s * 1000, 3),
                "decode": round(decode_s * 1000, 3),
                "inference": round(inference_s * 1000, 3),
            },
        }
        if request.bad is not None:
            header["bad"] = request.bad
            header["first"] = request.first
        total_s = time.monotonic() - request.began
        self.statistics.count_answer(queue_s=queue_s, decode_s=decode_s, inference_s=inference_s, total_s=total_s)
        self._answer(request, header, buffers)

    def _answer(self, request: Request, header: dict[str, Any], body: Sequence[wire.Buffer]) -> None:
        """Write the answer, unless the request is answered already or dropped."""
        if request in self._requests:
            self._forget(request)
            request.connection.send({"id": request.number, **header}, body)

    def _answer_bad(self, request: Request) -> None:
        """Answer with what is wrong with its pictures, of which none is run."""
        if request in self._requests:
            self.statistics.count_error(BadImage.code, time.monotonic() - request.began, is_ours=False)
            self._answer(request, {"tensors": [], "bad": request.bad}, ())

    def _refuse(self, request: Request, error: Exception) -> None:
        """Answer with an error. If it is no PortalError it is a bug, logged and answered with a constant text."""
        if request not in self._requests:
            return
        if isinstance(error, PortalError):
            code, message, retry_after_s, is_ours = error.code, error.message, error.retry_after_s, error.status >= 500
            if error.code not in _QUIET:
                self._refusals.log(f"refused: {message}")
        else:
            logger.error("bug while answering", exc_info=error)
            code, message, retry_after_s, is_ours = "internal", "The runner met an error of its own.", None, True
        if request.is_counted:
            # A bad picture is the sender's error, not the model's.
            self.statistics.count_error(code, time.monotonic() - request.began, is_ours=is_ours)
        self._answer(request, {"error": {"code": code, "message": message, "retry_after_s": retry_after_s}}, ())


def _joined(answers: list[Array]) -> Array:
    """One output of all parts of a request. Raises BadInput if the shapes differ (such as one row per box found)."""
    try:
        return np.concatenate(answers)
    except ValueError:
        raise BadInput("The answers to its examples have different shapes. Ask about one at a time.") from None


def _end_process(bug: BaseException) -> None:
    """After a bug in a thread no answer can be trusted any more; the owner starts a new process."""
    logger.critical("a thread of the runner ended", exc_info=bug)
    os._exit(70)
