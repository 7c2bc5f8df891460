"""Serves frames on the runner's socket: decode, queue, run, answer. Each request gets exactly one answer."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from inference import images, tensors, wire
from inference.engines import Engine
from inference.errors import BadImage, DeadlinePassed, NotLoaded, PortalError, ValidationFailed
from inference.preprocessing import ImagePlan, parse_preprocessing, plan_image
from inference.runner.batching import Answer, Batcher, Work
from inference.runner.config import RunnerConfig
from inference.runner.statistics import Statistics

logger = logging.getLogger("runner")

Array = np.ndarray[Any, Any]
MAX_IMAGES = 64


class Server:
    """One model behind one listening unix socket. `drain` ends it: what was accepted is answered first."""

    def __init__(self, engine: Engine, config: RunnerConfig) -> None:
        self._engine = engine
        self._config = config
        self._signature = engine.signature
        self._decoders = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="decode")
        self.statistics = Statistics()
        self.batcher = Batcher(
            engine,
            max_batch=config.max_batch,
            max_wait_s=config.max_wait_ms / 1000,
            queue_limit=config.queue_limit,
            on_bug=_end_process,
        )
        self._is_draining = False
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        self.batcher.start()
        self._server = await asyncio.start_unix_server(self._serve_connection, sock=listener)

    async def drain(self, grace_s: float) -> tuple[int, int]:
        """Refuse what is new, finish what is there. Returns how many requests were finished and how many cut off."""
        self._is_draining = True
        waiting = self.statistics.in_flight
        deadline = time.monotonic() + grace_s
        while self.statistics.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        self.batcher.close()
        cut_off = self.statistics.in_flight
        return waiting - cut_off, cut_off

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        write_lock = asyncio.Lock()
        running: dict[Any, asyncio.Task[None]] = {}
        try:
            while (frame := await wire.read(reader, wire.Limits())) is not None:
                identifier = frame.header.get("id")
                if frame.header.get("kind") == "cancel":
                    if task := running.get(identifier):
                        task.cancel()
                    continue
                task = asyncio.create_task(self._serve_request(frame, writer, write_lock))
                running[identifier] = task
                task.add_done_callback(lambda _, key=identifier: running.pop(key, None))  # type: ignore[misc]
        except (wire.WireError, ConnectionError) as error:
            logger.warning("connection closed: %s", error)
        finally:
            for task in list(running.values()):  # the client is gone: nobody waits for these
                task.cancel()
            writer.close()

    async def _serve_request(self, frame: wire.Frame, writer: asyncio.StreamWriter, write_lock: asyncio.Lock) -> None:
        """Answer one request and write the answer out; only then is it no longer in flight."""
        self.statistics.in_flight += 1
        began = time.monotonic()
        try:
            header, body = await self._answer_or_error(frame)
            async with write_lock:
                for part in wire.encode({"id": frame.header.get("id"), **header}, body):
                    writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass  # the client went away
        finally:
            self.statistics.in_flight -= 1
            self.statistics.latencies_s.append(time.monotonic() - began)

    async def _answer_or_error(self, frame: wire.Frame) -> tuple[dict[str, Any], Sequence[wire.Buffer]]:
        self.statistics.requests += 1
        try:
            return await self._answer(frame)
        except PortalError as error:
            logger.info("refused: %s", error.message)
            self.statistics.errors += error.status >= 500  # a bad picture is the sender's error, not the model's
            return {"error": {"code": error.code, "message": error.message, "retry_after_s": error.retry_after_s}}, ()
        except Exception:
            logger.exception("bug while answering")
            self.statistics.errors += 1
            return {"error": {"code": "internal", "message": "The runner met an error of its own."}}, ()

    async def _answer(self, frame: wire.Frame) -> tuple[dict[str, Any], Sequence[wire.Buffer]]:
        if self._is_draining:
            raise NotLoaded("The model is being unloaded.")
        header = frame.header
        try:
            deadline = time.monotonic() + min(float(header["timeout_s"]), self._config.predict_timeout_s)
            kind = header["kind"]
        except (KeyError, TypeError, ValueError):
            raise ValidationFailed("The frame has no kind or no timeout.") from None
        if kind == "images":
            return await self._answer_images(header, frame.body, deadline)
        if kind == "tensors":
            inputs = tensors.conform(wire.read_tensors(header.get("tensors", ()), frame.body), self._signature)
            return _encode_answer(await self._run(inputs, deadline), decode_s=0.0)
        if kind == "seen":
            return await self._answer_seen(frame.body)
        raise ValidationFailed("The frame asks for something unknown.")

    async def _answer_images(
        self, header: Mapping[str, Any], body: memoryview, deadline: float
    ) -> tuple[dict[str, Any], Sequence[wire.Buffer]]:
        """Pictures in, outputs out: one row for each picture that could be read, `bad` names the others."""
        plan = self._plan()
        pictures = wire.split_body(header.get("sizes", ()), body)
        if not 0 < len(pictures) <= MAX_IMAGES:
            raise ValidationFailed(f"Send between 1 and {MAX_IMAGES} images.")
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        decoded = await asyncio.gather(
            *(loop.run_in_executor(self._decoders, _decode, picture, plan) for picture in pictures)
        )
        decode_s = time.monotonic() - began
        bad = {str(i): result.message for i, result in enumerate(decoded) if isinstance(result, BadImage)}
        good = [result for result in decoded if not isinstance(result, BadImage)]
        if bad and (not good or header.get("strict", True)):
            return {"bad": bad, "tensors": []}, ()
        name = self._signature.inputs[0].name
        answer = await self._run({name: np.stack(good)}, deadline)
        encoded, buffers = _encode_answer(answer, decode_s)
        return encoded | {"bad": bad}, buffers

    async def _answer_seen(self, body: memoryview) -> tuple[dict[str, Any], Sequence[wire.Buffer]]:
        """A PNG of one picture as the model gets it."""
        plan = self._plan()
        loop = asyncio.get_running_loop()

        def see() -> bytes:
            return images.render_seen(images.decode_image(body, plan), plan)

        return {"tensors": []}, [await loop.run_in_executor(self._decoders, see)]

    def _plan(self) -> ImagePlan:
        if len(self._signature.inputs) != 1:
            raise ValidationFailed("The model takes several inputs. Send them as tensors.")
        return plan_image(parse_preprocessing(self._config.preprocessing), self._signature.inputs[0])

    async def _run(self, inputs: Mapping[str, Array], deadline: float) -> Answer:
        """The engine's outputs, within the deadline. More rows than a batch holds are run in several."""
        rows = next(iter(inputs.values())).shape[0] if all(array.ndim for array in inputs.values()) else 1
        limit = self.batcher.max_batch
        if rows <= limit or limit == 1:
            parts = [inputs]
        else:
            parts = [{name: array[at : at + limit] for name, array in inputs.items()} for at in range(0, rows, limit)]
        works = [Work(part, min(rows, limit), deadline) for part in parts]
        futures = [asyncio.wrap_future(self.batcher.submit(work)) for work in works]
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                answers = await asyncio.gather(*futures)
        except TimeoutError:
            raise DeadlinePassed(f"The model did not answer within {self._config.predict_timeout_s:g} s.") from None
        finally:
            for future in futures:
                future.cancel()
        if len(answers) == 1:
            return answers[0]
        outputs = {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in answers[0].outputs}
        return Answer(outputs, max(a.queue_s for a in answers), sum(a.inference_s for a in answers))


def _decode(picture: memoryview, plan: ImagePlan) -> Array | BadImage:
    try:
        return images.decode_image(picture, plan)
    except BadImage as error:
        return error


def _encode_answer(answer: Answer, decode_s: float) -> tuple[dict[str, Any], list[wire.Buffer]]:
    described, buffers = wire.describe_tensors(answer.outputs)
    timing = {
        "queue": round(answer.queue_s * 1000, 3),
        "decode": round(decode_s * 1000, 3),
        "inference": round(answer.inference_s * 1000, 3),
    }
    return {"tensors": described, "timing_ms": timing}, buffers


def _end_process(bug: BaseException) -> None:
    """The engine's thread met a bug of ours: no answer can be trusted any more, the owner starts a new process."""
    logger.critical("the engine thread ended", exc_info=bug)
    os._exit(70)
