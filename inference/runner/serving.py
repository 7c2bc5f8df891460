"""What a runner does inside the sandbox: load the model, warm it up, say ready, serve until told to drain.

NumPy and the engine start threads when they are imported: so this module is imported by a process that is walled in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
import time
from typing import NoReturn

import numpy as np

from inference.engines import Engine, EngineSettings, ModelUnusable, RenamedEngine, open_engine, other_names
from inference.errors import PortalError
from inference.preprocessing import parse_preprocessing, plan_image
from inference.runner.config import RunnerConfig
from inference.runner.server import Server
from inference.runner.status import StatusLine
from inference.signature import Signature, TensorSpec, image_axes

logger = logging.getLogger("runner")
HEARTBEAT_S = 1.0
MEMORY_WORDS = ("bad_alloc", "failed to allocate memory", "oom when allocating", "out of memory", "resource_exhausted")


def serve_model(
    config: RunnerConfig, listener_descriptor: int, status_socket: socket.socket, status: StatusLine, sandbox: str
) -> None:
    """Load, say ready, serve; ends this process. `sandbox` is the level that it runs in."""
    began = time.monotonic()
    try:
        engine = _load(config)
        warm_up_s = _warm_up(engine, config)
    except ModelUnusable as error:
        if not _is_for_memory(error):
            status.say("failed", reason=str(error), is_final=True)
            _exit(3)
        _fail_for_memory(status)
    except MemoryError:
        _fail_for_memory(status)
    logger.info("engine %s on %s, loaded in %.2f s, warm-up %.1f ms", config.engine, engine.device,
                time.monotonic() - began, warm_up_s * 1000)  # fmt: skip
    listener = socket.socket(fileno=listener_descriptor)
    asyncio.run(_serve(engine, config, listener, status_socket, status, sandbox, time.monotonic() - began))


def _is_for_memory(error: Exception) -> bool:
    """Whether an engine gave up for want of memory: each says so in words of its own."""
    text = f"{error} {error.__cause__}".lower()
    is_python_s = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
    return is_python_s or any(word in text for word in MEMORY_WORDS)


def _fail_for_memory(status: StatusLine) -> NoReturn:
    status.say("failed", reason="There was not enough memory to load the model.", is_memory=True, is_final=True)
    _exit(3)


def _load(config: RunnerConfig) -> Engine:
    settings = EngineSettings(precision=config.precision, threads=config.threads)
    engine = open_engine(config.engine, config.path, config.format, settings)
    if not config.signature:
        return engine
    names = other_names(engine.signature, Signature.from_json(config.signature))
    return RenamedEngine(engine, names) if names else engine


def _warm_up(engine: Engine, config: RunnerConfig) -> float:
    """Seconds that the second prediction on zeros takes; the first one pays for tracing and memory."""
    inputs = {spec.name: np.zeros(_warm_up_shape(spec, config), spec.dtype) for spec in engine.signature.inputs}
    try:
        engine.run(inputs)
        began = time.monotonic()
        engine.run(inputs)
        return time.monotonic() - began
    except Exception as error:  # free sizes may not fit zeros of our making; real requests say so themselves
        if _is_for_memory(error):
            raise MemoryError from error
        logger.warning("warm-up skipped: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        return 0.0


def _warm_up_shape(spec: TensorSpec, config: RunnerConfig) -> list[int]:
    """One example; free picture sizes as preprocessing makes them, other free dimensions 32."""
    free = 32
    shape = [1, *(free if n is None else n for n in spec.shape[1:])]
    if image_axes(spec) is not None:
        with contextlib.suppress(PortalError):
            plan = plan_image(parse_preprocessing(config.preprocessing), spec)
            at = 1 if plan.layout == "nhwc" else 2
            shape[at], shape[at + 1] = plan.height, plan.width
    return shape[: len(spec.shape)]


async def _serve(
    engine: Engine,
    config: RunnerConfig,
    listener: socket.socket,
    status_socket: socket.socket,
    status: StatusLine,
    sandbox: str,
    load_s: float,
) -> None:
    server = Server(engine, config)
    await server.start(listener)
    status.say(
        "ready",
        device=engine.device,
        engine=config.engine,
        precision=config.precision,
        load_seconds=round(load_s, 3),
        sandbox=sandbox,
        signature=engine.signature.as_json(),
    )
    orders, _ = await asyncio.open_unix_connection(sock=status_socket.dup())
    heartbeat = asyncio.create_task(_beat(server, status))
    if line := await orders.readline():  # nothing: the owner is gone
        order = json.loads(line)
        finished, cut_off = await server.drain(float(order.get("grace_s", 30.0)))
        heartbeat.cancel()
        status.say("drained", drained=finished, failed=cut_off)
    _exit(0)


async def _beat(server: Server, status: StatusLine) -> None:
    while True:
        statistics = server.statistics
        status.say(
            "alive",
            requests=statistics.requests,
            errors=statistics.errors,
            queue=server.batcher.depth,
            in_flight=statistics.in_flight,
            running_s=round(server.batcher.running_s, 3),
            p95_ms=statistics.p95_ms(),
        )
        await asyncio.sleep(HEARTBEAT_S)


def _exit(code: int) -> NoReturn:
    """Leave at once: destructors of an engine can take seconds, the kernel takes the memory back in milliseconds."""
    sys.stderr.flush()
    os._exit(code)
