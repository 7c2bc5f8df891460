"""A killable child for work on somebody's file: a clock, a memory limit, answers as JSON lines.

A timeout kills the process: an exception does not interrupt native code.
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
from typing import Any

from inference.processes import die_with_parent, memory_bytes, scrubbed_environment
from inference.runner.limits import apply_limits
from inference.workspace import Workspace

logger = logging.getLogger("child")

PROJECT_DIRECTORY = Path(__file__).resolve().parent.parent
ANSWER_BYTES = 4 * 2**20
_LOOK_EVERY_S = 0.1
_OUTPUT_TAIL_BYTES = 4000

Said = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take: seconds of the clock, bytes of memory (PSS)."""

    seconds: float
    memory_bytes: int


class ChildFailed(Exception):
    """The child exceeded a limit or ended without an answer; the text is a sentence for people."""


def run_child(
    module: str,
    request: Mapping[str, Any],
    workspace: Workspace,
    limits: Limits,
    *,
    hear: Callable[[Said], None],
    environment: Mapping[str, str] | None = None,
) -> Said:
    """Run `python -m module` with `request` (JSON) on its standard input; its last line of answer.

    Lines with the key `progress` are given to `hear` as they come. Raises ChildFailed. When this returns or raises, the
    child and its process group are gone. Call it from a thread that lives as long as the child: the kernel kills the
    child with that thread.
    """
    tmp = str(workspace.tmp_directory)
    own = {"PYTHONPATH": str(PROJECT_DIRECTORY), "HOME": tmp, "TMPDIR": tmp, "CUDA_VISIBLE_DEVICES": "-1"}
    output_path = workspace.tmp_directory / "output"
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", "-m", module, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=tmp,
            env=scrubbed_environment({**own, **(environment or {})}),
            process_group=0,
            umask=0o077,
        )
    try:
        answer = _converse(process, json.dumps(dict(request)).encode(), limits, hear)
    finally:
        _kill(process)
    if answer is None:
        tail = output_path.read_bytes()[-_OUTPUT_TAIL_BYTES:].decode("utf-8", "replace")
        logger.warning("%s ended with %s and no answer: %s", module, process.returncode, tail)
        raise ChildFailed("The file ended the process that worked on it. It needs more than there is, or is damaged.")
    return answer


def begin_child() -> tuple[Said, Callable[..., None]]:
    """The child's side: ties its life to its parent's, limits itself; the request, and a function that sends a line.

    Call it before any engine is imported. What libraries print goes to standard error and never mixes with answers.
    """
    die_with_parent(int(sys.argv[1]))
    apply_limits()
    request = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)

    def say(**facts: Any) -> None:
        with os.fdopen(os.dup(answer), "wb") as line:
            line.write(json.dumps(facts).encode() + b"\n")

    return request, say


def end_child() -> None:
    """Leave at once: destructors of an engine can take seconds."""
    sys.stderr.flush()
    os._exit(0)


def _converse(
    process: subprocess.Popen[bytes], request: bytes, limits: Limits, hear: Callable[[Said], None]
) -> Said | None:
    """The last line that is no progress, once the child has closed its side. Raises ChildFailed beyond a limit."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(request)
        process.stdin.close()
    except BrokenPipeError:
        return None
    deadline = time.monotonic() + limits.seconds
    answer: Said | None = None
    waiting = b""
    received = 0
    while True:
        if select.select([process.stdout], [], [], _LOOK_EVERY_S)[0]:
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return answer
            received += len(data)
            *lines, waiting = (waiting + data).split(b"\n")
            for said in map(_parsed, lines):
                if "progress" in said:
                    hear(said)
                else:
                    answer = said
        if time.monotonic() > deadline:
            raise ChildFailed(f"It took more than {limits.seconds:.0f} s and was stopped.")
        if received > ANSWER_BYTES:
            raise ChildFailed("The process that worked on the file said more than it should and was stopped.")
        if (memory_bytes(process.pid) or 0) > limits.memory_bytes:
            raise ChildFailed(f"It took more than {limits.memory_bytes / 10**9:.1f} GB of memory and was stopped.")


def _parsed(line: bytes) -> Said:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ChildFailed("The process that worked on the file answered something that makes no sense.")
    return said


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
    except ProcessLookupError:
        pass
    process.wait()
