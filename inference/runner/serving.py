"""What a runner does inside the sandbox: load the model, warm it up, say ready, serve until told to drain.

NumPy and the engine start threads when they are imported, so import this module only inside the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from inference import texts
from inference.engines import (
    Engine,
    EngineSettings,
    ModelUnusable,
    open_engine,
    prepare_engine,
)
from inference.errors import PortalError
from inference.garbage import keep_what_is_there
from inference.preprocessing import parse_preprocessing, plan_image
from inference.runner.config import RunnerConfig
from inference.runner.server import Server
from inference.runner.shortage import is_for_memory, is_of_gpu
from inference.runner.status import StatusLine
from inference.runner.tuning import Loaded, Tuning
from inference.signature import Signature, TensorSpec, image_axes
from inference.workspace import Workspace

logger = logging.getLogger("runner")
HEARTBEAT_S = 1.0


def serve_model(
    config: RunnerConfig,
    listener_descriptor: int,
    status_socket: socket.socket,
    status: StatusLine,
    sandbox: str,
    computing: Executor,
) -> None:
    """Load the model, report ready and serve; ends this process. `sandbox` is the level of its sandbox.

    The engine is imported and the model loaded on the one thread of `computing`, which has a low priority, as have the
    threads that the engine starts there.
    """
    if config.is_spare:
        computing.submit(prepare_engine, config.engine).result()
        config = _wait_for_model(status_socket, status)
    began = time.monotonic()
    try:
        tuning = Tuning(config, functools.partial(_open, config), _zeros_for(config))
        loaded = computing.submit(tuning.load).result()
    except ModelUnusable as error:
        if not is_for_memory(error):
            status.send("failed", reason=str(error), is_final=True)
            _exit(3)
        _fail_for_memory(status, error)
    except MemoryError as error:
        _fail_for_memory(status, error)
    load_s = time.monotonic() - began
    device, how = loaded.engine.device, loaded.tuned.sentence(config)
    logger.info("engine %s on %s, loaded in %.2f s; %s", config.engine, device, load_s, how)
    keep_what_is_there()
    listener = socket.socket(fileno=listener_descriptor)
    asyncio.run(_serve(loaded, config, listener, status_socket, status, sandbox))


def _fail_for_memory(status: StatusLine, error: Exception) -> NoReturn:
    if is_of_gpu(error):
        advice = "Unload another model there first, or load a smaller one."
        status.send("failed", reason=f"The GPU has not enough free memory for the model. {advice}", is_final=True)
    else:
        status.send("failed", reason="There was not enough memory to load the model.", is_memory=True, is_final=True)
    _exit(3)


def _wait_for_model(status_socket: socket.socket, status: StatusLine) -> RunnerConfig:
    """Report "warm" (the engine is imported) and wait for a model; ends this process if the owner goes away first.

    The owner has moved the folders meanwhile: the sandbox still allows them, but their paths are new.
    """
    status.send("warm")
    line = bytearray()
    while not line.endswith(b"\n"):
        data = status_socket.recv(65536)
        if not data:
            _exit(0)
        line += data
    given = RunnerConfig.decode(bytes(line))
    os.environ["HOME"] = os.environ["TMPDIR"] = str(Workspace.of_model(given.path).tmp_directory)
    tempfile.tempdir = None
    return given


def _open(config: RunnerConfig, streams: int, threads: int | None) -> Engine:
    settings = EngineSettings(
        precision=config.precision,
        threads=threads,
        streams=streams,
        cache_directory=Path(config.cache_directory) if config.cache_directory else None,
        names=config.names,
        graph_inputs=tuple(config.graph_inputs),
        graph_outputs=tuple(config.graph_outputs),
        is_trusted=config.is_trusted,
        signature=Signature.from_json(config.signature) if config.signature else None,
    )
    return open_engine(config.engine, config.path, config.format, settings)


def _zeros_for(config: RunnerConfig) -> Callable[[Engine, int, int], dict[str, Any]]:
    """A function that makes inputs of zeros with `rows` rows and `free` as the size of free dimensions."""

    def zeros(engine: Engine, rows: int, free: int) -> dict[str, Any]:
        return {spec.name: _zeros(spec, _warm_up_shape(spec, config, rows, free)) for spec in engine.signature.inputs}

    return zeros


def _zeros(spec: TensorSpec, shape: list[int]) -> np.ndarray[Any, Any]:
    return texts.filled(shape, b"") if spec.dtype == texts.DTYPE else np.zeros(shape, spec.dtype)


def _warm_up_shape(spec: TensorSpec, config: RunnerConfig, rows: int, free: int) -> list[int]:
    """The shape of `rows` examples; free picture sizes are those of preprocessing."""
    first = spec.shape[:1]
    shape = [first[0] if first and first[0] is not None else rows, *(free if n is None else n for n in spec.shape[1:])]
    if image_axes(spec) is not None:
        with contextlib.suppress(PortalError):
            plan = plan_image(parse_preprocessing(config.preprocessing), spec)
            at = 1 if plan.layout == "nhwc" else 2
            shape[at], shape[at + 1] = plan.height, plan.width
    return shape[: len(spec.shape)]


async def _serve(
    loaded: Loaded,
    config: RunnerConfig,
    listener: socket.socket,
    status_socket: socket.socket,
    status: StatusLine,
    sandbox: str,
) -> None:
    server = Server(loaded.engine, config, loaded.tuned.rules(config), loaded.alone)
    await server.start(listener)
    status.send(
        "ready",
        device=loaded.engine.device,
        engine=config.engine,
        precision=config.precision,
        sandbox=sandbox,
    )
    orders, _ = await asyncio.open_unix_connection(sock=status_socket.dup())
    heartbeat = asyncio.create_task(_beat(server, status))
    if line := await orders.readline():  # nothing: the owner is gone
        order = json.loads(line)
        finished, cut_off = await server.drain(float(order.get("grace_s", 30.0)))
        heartbeat.cancel()
        _send_heartbeat(server, status)  # the final counts: nobody can ask for them later
        status.send("drained", drained=finished, failed=cut_off)
    _exit(0)


async def _beat(server: Server, status: StatusLine) -> None:
    while True:
        _send_heartbeat(server, status)
        await asyncio.sleep(HEARTBEAT_S)


def _send_heartbeat(server: Server, status: StatusLine) -> None:
    statistics = server.statistics
    status.send(
        "alive",
        requests=statistics.requests,
        errors=statistics.errors,
        queue=server.batcher.depth,
        in_flight=server.in_flight,
        running_s=round(server.batcher.running_s, 3),
        p95_ms=statistics.p95_ms(),
    )


def _exit(code: int) -> NoReturn:
    """Exit immediately: an engine's destructors can take seconds, the kernel frees the memory in milliseconds."""
    sys.stderr.flush()
    os._exit(code)
