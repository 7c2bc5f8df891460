"""A child process for work on an uploaded file: inside the sandbox, with a time limit and a memory limit.

Everything that parses, opens, converts or measures an uploaded file is started here. A timeout kills the process: an
exception does not interrupt native code.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from inference import PROJECT_DIRECTORY
from inference.host import memory as host_memory
from inference.host.processes import NO_GPU, scrubbed_environment, takes_more_than
from inference.refusal import clean_text
from inference.runner.sandbox import SandboxMissing
from inference.workspace import Workspace

logger = logging.getLogger("child")

MOST_OUTPUT_BYTES = 4 * 2**20
LONGEST_DETAIL = 200
LIBRARIES_BYTES = 2 * 10**9
OF_THE_FREE = 0.75
ENDED = "The file ended the process that worked on it. It needs more than there is, or is damaged."
NONSENSE = "The process that worked on the file answered something that makes no sense."
_LOOK_EVERY_S = 0.02  # some files took 0.3 GB within a second
_REPORTED_AT_ONCE = 100
_REPORT_EVERY_S = 0.25  # after those: the receiver writes the progress into the database
_REPEAT_AFTER_S = 2.0  # the receiver raises if the work is no longer wanted
_OUTPUT_TAIL_BYTES = 4000

_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}

Message = dict[str, Any]
"""A request to a child, or its answer."""
Progress = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take: seconds of wall-clock time, bytes of memory (PSS)."""

    seconds: float
    memory_bytes: int

    def grown_for(self, file: Path, *, memory_per_byte: int) -> Limits:
        """These limits for work on `file`, whose bytes may be in memory `memory_per_byte` times. The memory limit grows
        to at most OF_THE_FREE of what is free; each GB adds the same time again."""
        size_bytes = file.stat().st_size
        free_bytes = int(OF_THE_FREE * host_memory.free_bytes())
        wanted = min(LIBRARIES_BYTES + memory_per_byte * size_bytes, free_bytes)
        return Limits(self.seconds * (1 + size_bytes / 10**9), max(self.memory_bytes, wanted))


class ChildFailed(Exception):
    """The child exceeded a limit or ended without an answer; the text is a sentence for people."""


class ChildKilled(ChildFailed):
    """A signal from outside ended the child, such as the kernel's for lack of memory: the file may be good."""


def run_child(
    work: str,
    request: Mapping[str, Any],
    workspace: Workspace,
    limits: Limits,
    *,
    sandbox: str,
    device: Mapping[str, str] = NO_GPU,
    progress: Progress | None = None,
    stage: tuple[int, str] | None = None,
    on_part: Callable[[Message], None] | None = None,
) -> Message:
    """Call the function `work` of the module named `work` with `request` (JSON) in a child process; return its answer.

    `workspace` must be prepared: the child reads its `model/` and writes only in its `tmp/`. `sandbox` is the value of
    PORTAL_SANDBOX. `device` holds environment variables about GPUs (`devices.visible_devices_environment`). `on_part`
    is called with each part of the answer as it arrives; parts stay valid even if the child fails later. `progress` is
    called with `stage` first, then at once for the first hundred reports, then a few times a second with the newest,
    and always with the last. While the child is silent it is called with the same again every two seconds; if it
    raises, the child is killed. The answer is checked to be a JSON object, but otherwise untrusted.

    Raises ChildFailed, ChildKilled if a signal from outside ended it, and SandboxMissing if the sandbox is required and
    the host lacks part of it. When this returns or raises, the child and its process group are gone. Call it from a
    thread that lives as long as the child: the kernel kills the child when that thread ends.
    """
    tmp = str(workspace.tmp_directory)
    own = {"PYTHONPATH": str(PROJECT_DIRECTORY), "HOME": tmp, "TMPDIR": tmp, **device}
    conversation = _Conversation(limits, progress or _ignore, stage, on_part or _ignore)
    # Read through this descriptor, not by name: the child may have put something else in the place of the file.
    with (workspace.tmp_directory / "output").open("w+b") as output:
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", "-m", __name__, str(os.getpid()), sandbox, str(workspace.root), work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=tmp,
            env=scrubbed_environment(own),
            process_group=0,
            umask=0o077,
        )
        try:
            conversation.hold(process, json.dumps(dict(request)).encode())
        finally:
            _kill(process)
        if conversation.unwalled:
            raise SandboxMissing(conversation.unwalled)
        if conversation.answer is None:
            logger.warning("%s ended with %s and no answer: %s", work, process.returncode, _tail(output))
            raise (ChildKilled if process.returncode in _FROM_OUTSIDE else ChildFailed)(ENDED)
        return conversation.answer


class _Conversation:
    """What a child says from start to end: lines of JSON with one of the keys in `_parsed`."""

    def __init__(
        self, limits: Limits, progress: Progress, stage: tuple[int, str] | None, on_part: Callable[[Message], None]
    ) -> None:
        self._limits = limits
        self._progress = progress
        self._on_part = on_part
        self._newest = self._pending = stage
        self._reported, self._reported_at = 0, 0.0
        self.answer: Message | None = None
        self.unwalled = ""

    def hold(self, process: subprocess.Popen[bytes], request: bytes) -> None:
        """Until the child closes its output. Raises ChildFailed if it exceeds a limit."""
        assert process.stdin is not None and process.stdout is not None
        self._report(now=True)
        try:
            process.stdin.write(request)
            process.stdin.close()
        except BrokenPipeError:
            return
        deadline = time.monotonic() + self._limits.seconds
        waiting, received = b"", 0
        while True:
            if select.select([process.stdout], [], [], _LOOK_EVERY_S)[0]:
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    self._report(now=True)
                    return
                received += len(data)
                *lines, waiting = (waiting + data).split(b"\n")
                for line in lines:
                    self._handle(line)
            self._report()
            if time.monotonic() > deadline:
                raise ChildFailed(f"It took more than {self._limits.seconds:.0f} s and was stopped.")
            if received > MOST_OUTPUT_BYTES:
                raise ChildFailed("The process that worked on the file said more than it should and was stopped.")
            if takes_more_than(process.pid, self._limits.memory_bytes):
                raise ChildFailed(
                    f"It took more than {self._limits.memory_bytes / 10**9:.1f} GB of memory and was stopped."
                )

    def _handle(self, line: bytes) -> None:
        kind, message = _parsed(line)
        if kind == "progress":
            self._newest = self._pending = message
            self._report()
        elif kind == "part":
            self._on_part(message)
        elif kind == "unwalled":
            self.unwalled = message
        else:
            self.answer = message

    def _report(self, *, now: bool = False) -> None:
        """Pass on the newest progress: of many reports only a few a second, unless `now`. Repeat it while none come."""
        silent_s = time.monotonic() - self._reported_at
        is_due = now or self._reported < _REPORTED_AT_ONCE or silent_s >= _REPORT_EVERY_S
        if self._newest is not None and ((self._pending is not None and is_due) or silent_s >= _REPEAT_AFTER_S):
            self._pending, self._reported, self._reported_at = None, self._reported + 1, time.monotonic()
            self._progress(*self._newest)


def _parsed(line: bytes) -> tuple[str, Any]:
    """The kind of line, and its content converted to the expected types. Raises ChildFailed."""
    try:
        message = json.loads(line)
        if "progress" in message:
            percent = min(100, max(0, int(message["progress"])))
            return "progress", (percent, clean_text(message["detail"], LONGEST_DETAIL))
        if "part" in message:
            return "part", dict(message["part"])
        if "unwalled" in message:
            return "unwalled", clean_text(message["unwalled"], 1000)
        return "answer", dict(message["answer"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise ChildFailed(NONSENSE) from None


def _ignore(*_: object) -> None:
    pass


def _tail(output: BinaryIO) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _OUTPUT_TAIL_BYTES))
    return output.read(_OUTPUT_TAIL_BYTES).decode("utf-8", "replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the pid cannot belong to another process
    except ProcessLookupError:
        pass
    process.wait()
