"""Python code in a fresh process, inside the sandbox or, as the control, outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 120.0
LANDLOCK = (444, 445, 446)

PRELUDE = """
import ctypes, errno, json, os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
from inference.runner.sandbox import Allowed, SandboxMissing, enter_as
from inference.workspace import Workspace

MODE, OUTSIDE, TARGET, PORT, KEPT = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6]
workspace = Workspace(Path(sys.argv[1]))
model = workspace.model_directory / "model"
libc = ctypes.CDLL(None, use_errno=True)

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")

def call(number, *arguments):
    checked(libc.syscall(number, *[ctypes.c_long(argument) for argument in arguments]))

def say(value):
    print(json.dumps(value), flush=True)

def enter():
    return enter_as(MODE, Allowed.for_workspace(workspace, descriptors=tuple(json.loads(KEPT))))
"""

DENY = """
import os, sys
from inference.runner.sandbox import capabilities, seccomp, syscalls
machine = syscalls.architecture()
steps = [seccomp.Step(0x20, 0)]
for number in json.loads(sys.argv[1]):
    steps += [seccomp.Step(0x15, number, if_false=1), seccomp.Step(0x06, 0x00050000 | 38)]
capabilities.forbid_new_privileges()
seccomp.install([*steps, seccomp.Step(0x06, 0x7FFF0000)], machine)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a child runs: its own folders, a folder that is none of its business, a process and a port of others."""

    workspace: Workspace
    outside: Path
    target_pid: int = 0
    port: int = 0

    @classmethod
    def beneath(cls, directory: Path, *, target_pid: int = 0, port: int = 0) -> Place:
        source = directory / "source"
        source.write_text("a model")
        workspace = Workspace(directory / "workspace")
        workspace.prepare(source, "model")
        outside = directory / "outside"
        outside.mkdir()
        (outside / "secret").write_text("a secret")
        return cls(workspace, outside, target_pid, port)


def run_in(
    place: Place, code: str, mode: str, *, kept: tuple[int, ...] = (), passed: tuple[int, ...] = (),
    without: tuple[int, ...] = (),
) -> Any:  # fmt: skip
    """What `code` says (one JSON value) in a fresh process, `SIG…` as a negative number where a signal ended it.

    PRELUDE stands before `code`, which has to call `enter`. The system calls `without` are unknown to that process.
    """
    arguments = [str(place.workspace.root), mode, str(place.outside), str(place.target_pid), str(place.port)]
    command = [sys.executable, "-s", "-P", "-B", "-c", PRELUDE + code, *arguments, json.dumps(kept)]
    ended = subprocess.run(
        wrapped(command, without), cwd=place.workspace.tmp_directory, env=environment(place), pass_fds=passed,
        capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    if ended.returncode < 0:
        return ended.returncode
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def wrapped(command: list[str], without: tuple[int, ...]) -> list[str]:
    """The command, started by a process that makes the kernel answer ENOSYS to these calls."""
    if not without:
        return command
    return [sys.executable, "-s", "-P", "-B", "-c", f"import json\n{DENY}", json.dumps(without), *command]


def environment(place: Place) -> dict[str, str]:
    tmp = str(place.workspace.tmp_directory)
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": tmp, "TMPDIR": tmp,
            "CUDA_VISIBLE_DEVICES": "-1"}  # fmt: skip


def without_landlock(function: str, folder: Path) -> str:
    """What `module:function` returns for the folder in a process, with children, to which Landlock is unknown."""
    module, name = function.split(":")
    code = f"import sys; from pathlib import Path; from {module} import {name}\nprint({name}(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(folder)]
    ended = subprocess.run(
        wrapped(command, LANDLOCK), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]
