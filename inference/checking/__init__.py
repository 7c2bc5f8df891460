"""Checking a file in killable children with limits of time and memory: first what it is, then whether it loads.

The first child reads the file without an engine (inference/formats); only what passes is opened by an engine in the
second. A timeout kills the process: an exception does not interrupt native code.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from inference.engines import DIRECT_ENGINES_BY_FORMAT, SUFFIX_OF_FORMAT
from inference.processes import memory_bytes, scrubbed_environment
from inference.signature import Signature
from inference.workspace import Workspace

logger = logging.getLogger("checking")

PROJECT_DIRECTORY = Path(__file__).resolve().parent.parent.parent
INSPECT_LIMIT_S = 30.0
INSPECT_LIMIT_BYTES = 10**9
OPEN_LIMIT_S = 120.0
OPEN_LIMIT_BYTES = 4 * 10**9
_LOOK_EVERY_S = 0.1
_ANSWER_BYTES = 4 * 2**20


class FileRefused(Exception):
    """The file is not taken; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a good file is: its format, what goes in and comes out, the labels it holds, and `notes`: sentences worth
    showing beside it."""

    format: str
    signature: Signature
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_file(
    path: Path, *, workspace: Workspace, is_trusted: bool, sandbox: str, progress: Callable[[int, str], None]
) -> Checked:
    """Check the file at `path`. Raises FileRefused with a sentence. Nothing is left in the workspace.

    `sandbox` is what PORTAL_SANDBOX says: with `require`, a host that cannot wall the children in refuses every file.
    """
    try:
        progress(10, "Reading what kind of file it is.")
        copy = workspace.prepare(path, "source")
        facts = _run_child(
            [sandbox, "inspect", str(copy), "trusted" if is_trusted else "checked"],
            workspace,
            INSPECT_LIMIT_S,
            INSPECT_LIMIT_BYTES,
        )
        format_name, labels = str(facts["format"]), tuple(str(label) for label in facts["labels"])
        engine = DIRECT_ENGINES_BY_FORMAT[format_name][0]
        progress(30, f"Opening it with {engine} to read its inputs and outputs.")
        copy = workspace.prepare(path, f"model{SUFFIX_OF_FORMAT[format_name]}")
        opened = _run_child(
            [sandbox, "open", str(copy), format_name, engine], workspace, OPEN_LIMIT_S, OPEN_LIMIT_BYTES
        )
        progress(90, "Comparing labels and outputs.")
        return Checked(format_name, Signature.from_json(opened["signature"]), labels)
    finally:
        workspace.remove()


def _run_child(arguments: list[str], workspace: Workspace, limit_s: float, limit_bytes: int) -> dict[str, Any]:
    """The child's answer. Raises FileRefused where it refuses the file, exceeds a limit or ends without an answer."""
    tmp = str(workspace.tmp_directory)
    environment = scrubbed_environment(
        {"PYTHONPATH": str(PROJECT_DIRECTORY), "HOME": tmp, "TMPDIR": tmp, "CUDA_VISIBLE_DEVICES": "-1"}
    )
    # Read through these descriptors, not by name: the child may have put something else in the place of its files.
    with (
        (workspace.tmp_directory / "answer").open("w+b") as answer,
        (workspace.tmp_directory / "output").open("w+b") as output,
    ):
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", "-m", "inference.inspector", str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=output,
            cwd=tmp,
            env=environment,
            process_group=0,
            umask=0o077,
        )
        try:
            problem = _watch(process, limit_s, limit_bytes)
        finally:
            _kill(process)
        if problem:
            raise FileRefused(problem)
        return _understand(answer, output, process.returncode)


def _understand(answer: BinaryIO, output: BinaryIO, code: int) -> dict[str, Any]:
    """What the child found. What it says is untrusted."""
    answer.seek(0)
    try:
        said = json.loads(answer.read(_ANSWER_BYTES))
        if "refused" in said:
            raise FileRefused(str(said["refused"])[:2000])
        return dict(said["found"])
    except (ValueError, KeyError, TypeError, RecursionError):
        output.seek(max(0, output.seek(0, os.SEEK_END) - 2000))
        tail = output.read(2000).decode("utf-8", "replace")
        logger.warning("a checking child ended with %s and no answer: %s", code, tail)
        raise FileRefused(
            "The file ended the process that read it. It is damaged, or needs more than there is."
        ) from None


def _watch(process: subprocess.Popen[bytes], limit_s: float, limit_bytes: int) -> str:
    """Wait for the child; the sentence of the limit it exceeded, or nothing."""
    deadline = time.monotonic() + limit_s
    pidfd = os.pidfd_open(process.pid)
    try:
        while not select.select([pidfd], [], [], _LOOK_EVERY_S)[0]:
            if time.monotonic() > deadline:
                return f"Reading the file took more than {limit_s:.0f} s and was stopped."
            if (memory_bytes(process.pid) or 0) > limit_bytes:
                return f"Reading the file took more than {limit_bytes / 10**9:.0f} GB of memory and was stopped."
    finally:
        os.close(pidfd)
    return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
