"""A runner gone bad: what takes the place of `inference/runner/serving.py` in a copy of the project.

Whatever a model file could make its process do, this one does when it is asked to: the real sandbox, limits and owner
are around it. The first value of a request says which act.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
from inference.runner.hostile_serving_acts import ACT

from inference.runner import honest_serving

FLOOD_S = 3.0
ACTS = {number: act for act, number in ACT.items()}


def serve_model(config: Any, *arguments: Any) -> None:
    if config.max_wait_ms == 66:
        print("I do not want to start", flush=True)
        os._exit(4)
    honest_serving.serve_model(config, *arguments)


class HostileEngine:
    """Does the act, then answers as the real one."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.signature, self.device, self.parallel = engine.signature, engine.device, engine.parallel
        self.callers, self.may_loop = engine.callers, True  # an act takes as long as it likes

    def run(self, inputs: Any) -> Any:
        (array,) = inputs.values()
        act = ACTS.get(int(array.flat[0]) if np.isfinite(array.flat[0]) else 0)
        if act in DONE:
            DONE[act]()
        outputs = self._engine.run(inputs)
        return {name: value * np.nan for name, value in outputs.items()} if act == "nan" else outputs


def flood() -> None:
    line = b"x" * 4096 + b"\n"
    until = time.monotonic() + FLOOD_S
    while time.monotonic() < until:
        os.write(1, line)


def fill() -> None:
    with Path("filling").open("wb", buffering=0) as file:
        while file.write(bytes(2**20)):
            pass


def fork() -> None:
    for make in (os.fork, lambda: os.posix_spawn("/bin/true", ["true"], {}), lambda: os.execv("/bin/true", ["true"])):
        try:
            made = make()
        except OSError:
            continue
        Path("marker").write_text(str(made))
        os._exit(9)


def segfault() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(5)


def nonsense() -> None:
    """On the status socket, which is its line to its owner."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'{"event": "ready"\n' * 10 + b"x" * 100)
        except OSError:
            continue


def garbage() -> None:
    to_the_web(bytes(100_000))


def giant() -> None:
    to_the_web(struct.pack("!4sIQ", b"MPF1", 2**32 - 1, 2**40))


def chatter() -> None:
    """A thousand answers to a request that nobody made."""
    head = b'{"id": 0}'
    to_the_web(1000 * (struct.pack("!4sIQ", b"MPF1", len(head), 0) + head))


def to_the_web(data: bytes) -> None:
    """Into every accepted connection, past the server that owns it."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        if not (entry.is_symlink() and str(entry.readlink()).startswith("socket:")):
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as connection:
            if connection.getsockname() and not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                connection.sendall(data)


def stranger() -> None:
    """Signals to whom it may not signal."""
    for pid in (os.getppid(), 1):
        try:
            os.kill(pid, 9)
        except OSError:
            continue
        Path("marker").write_text("killed")


DONE = {
    "flood": flood, "fill": fill, "fork": fork, "segfault": segfault, "leave": leave, "nonsense": nonsense,
    "stranger": stranger, "garbage": garbage, "giant": giant, "chatter": chatter,
}  # fmt: skip

_open_engine = honest_serving.open_engine
honest_serving.open_engine = lambda *arguments: HostileEngine(_open_engine(*arguments))  # type: ignore[assignment]
