"""`python -m inference.runner --listen FD --status FD`: becomes the process that holds one model.

Reads its configuration from standard input, applies its limits, only then imports the engine; loads, warms up, says
ready on the status socket (one JSON object a line), serves until it is told to drain or its owner is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
import time
from typing import Any

import numpy as np

from inference.engines import Engine, EngineSettings, ModelUnusable, open_engine
from inference.errors import PortalError
from inference.preprocessing import parse_preprocessing, plan_image
from inference.processes import die_with_parent
from inference.runner.config import RunnerConfig
from inference.runner.limits import apply_limits
from inference.runner.server import Server
from inference.signature import TensorSpec, image_axes

logger = logging.getLogger("runner")
HEARTBEAT_S = 1.0


class StatusLine:
    """The runner's side of the status socket. Each report is one line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def say(self, event: str, **facts: Any) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(json.dumps({"event": event, **facts}).encode() + b"\n")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--listen", type=int, required=True)
    arguments.add_argument("--status", type=int, required=True)
    given = arguments.parse_args()
    config = RunnerConfig.decode(sys.stdin.buffer.read())
    die_with_parent(config.owner_pid)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    status_socket = socket.socket(fileno=given.status)
    status = StatusLine(status_socket)
    apply_limits()  # the memory limit of a version is the owner's watch: address space says little of memory in use
    began = time.monotonic()
    try:
        engine = _load(config)
        warm_up_s = _warm_up(engine, config)
    except ModelUnusable as error:
        status.say("failed", reason=str(error), is_final=True)
        _exit(3)
    except MemoryError:
        status.say("failed", reason="There was not enough memory to load the model.", is_final=True)
        _exit(3)
    logger.info("engine %s on %s, loaded in %.2f s, warm-up %.1f ms", config.engine, engine.device,
                time.monotonic() - began, warm_up_s * 1000)  # fmt: skip
    listener = socket.socket(fileno=given.listen)
    asyncio.run(_serve(engine, config, listener, status_socket, status, time.monotonic() - began))


def _load(config: RunnerConfig) -> Engine:
    settings = EngineSettings(precision=config.precision, threads=config.threads)
    return open_engine(config.engine, config.path, config.format, settings)


def _warm_up(engine: Engine, config: RunnerConfig) -> float:
    """Seconds that the second prediction on zeros takes; the first one pays for tracing and memory."""
    inputs = {spec.name: np.zeros(_warm_up_shape(spec, config), spec.dtype) for spec in engine.signature.inputs}
    try:
        engine.run(inputs)
        began = time.monotonic()
        engine.run(inputs)
        return time.monotonic() - began
    except Exception as error:  # free sizes may not fit zeros of our making; real requests say so themselves
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
        sandbox="none",
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


def _exit(code: int) -> None:
    """Leave at once: destructors of an engine can take seconds, the kernel takes the memory back in milliseconds."""
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
