"""Work for tests of limited children: it describes itself, attacks, and misbehaves in every way."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.limited_child import Message
from inference.limited_child.report import Report


def work(request: Message, report: Report) -> dict[str, Any]:
    found: dict[str, Any] = _DO[request["verb"]](request, report)
    return found


def _describe(request: Message, report: Report) -> dict[str, Any]:
    return {
        "had_numpy": "numpy" in sys.modules,
        "status": Path("/proc/self/status").read_text(),
        "environment": list(os.environ),
        "pid": os.getpid(),
        "group": os.getpgrp(),
    }


def _attack(request: Message, report: Report) -> dict[str, Any]:
    attempts: dict[str, Callable[[], Any]] = {
        "read": lambda: Path(request["secret"]).read_text(),
        "write": lambda: Path(request["marker"]).write_text("x"),
        "environment of the parent": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "connect": lambda: socket.socket().close(),
        "start a program": lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]),
        "signal": lambda: os.kill(os.getppid(), 0),
    }
    return {name: _outcome(attempt) for name, attempt in attempts.items()}


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


def _eat(request: Message, report: Report) -> dict[str, Any]:
    kept = []
    while True:
        kept.append(b"x" * 10**6)
        time.sleep(0.001)


def _talk(request: Message, report: Report) -> dict[str, Any]:
    while True:
        report.progress(1, "x" * 10_000)


def _count(request: Message, report: Report) -> dict[str, Any]:
    for number in range(2000):
        report.progress(50, f"Step {number}.")
    return {}


def _write(text: bytes) -> Callable[[Message, Report], dict[str, Any]]:
    def write(request: Message, report: Report) -> dict[str, Any]:
        os.write(report._descriptor, text)
        return {}

    return write


def _die(request: Message, report: Report) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _raise(request: Message, report: Report) -> dict[str, Any]:
    raise RuntimeError("on purpose")


def _leave(request: Message, report: Report) -> dict[str, Any]:
    os._exit(0)


def _part(request: Message, report: Report) -> dict[str, Any]:
    report.part(number=1)
    return _die(request, report)


def _sleep(request: Message, report: Report) -> dict[str, Any]:
    time.sleep(600)
    return {}


_DO: dict[str, Callable[[Message, Report], dict[str, Any]]] = {
    "describe": _describe,
    "attack": _attack,
    "eat": _eat,
    "talk": _talk,
    "count": _count,
    "nonsense": _write(b"[1, 2]\n"),
    "deep": _write(b"[" * 100_000 + b"\n"),
    "die": _die,
    "raise": _raise,
    "leave": _leave,
    "part": _part,
    "sleep": _sleep,
}
