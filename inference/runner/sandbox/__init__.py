"""The sandbox of a process that opens a model: files, network, programs, other processes. No root, no container.

Safe-loading flags of engines are no security boundary: model files have run code despite every one of them. So before
it imports an engine, the process gives up what a model never needs: new privileges and capabilities, unused
descriptors, files outside of its own folders (Landlock), and system calls that start programs, use the network or
affect other processes (seccomp).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inference.runner.sandbox import canary, capabilities, landlock, seccomp
from inference.runner.sandbox.paths import standard_devices, standard_paths
from inference.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Allowed:
    """What stays accessible. Folders include everything beneath them.

    `canary` is a file outside of them, readable before the sandbox is entered; it must not be afterwards.
    """

    canary: Path
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    descriptors: tuple[int, ...] = ()
    has_gpu: bool = False

    @classmethod
    def for_workspace(cls, workspace: Workspace, *, descriptors: tuple[int, ...] = ()) -> Allowed:
        """What a process needs to open the model in this workspace, on the device that its environment names."""
        has_gpu = os.environ.get("CUDA_VISIBLE_DEVICES") != "-1"
        return cls(
            canary=workspace.canary,
            read=(*standard_paths(has_gpu=has_gpu), workspace.model_directory),
            write=(workspace.tmp_directory,),
            devices=standard_devices(has_gpu=has_gpu),
            descriptors=descriptors,
            has_gpu=has_gpu,
        )


@dataclass(frozen=True, slots=True)
class Level:
    """`missing` says in sentences what is not stopped; empty for `full`."""

    name: Literal["full", "partial", "none"]
    missing: str = ""


class SandboxMissing(Exception):
    """PORTAL_SANDBOX=require, but the sandbox is not complete; the message is for people."""


def enter_as(mode: str, allowed: Allowed) -> Level:
    """`enter` as PORTAL_SANDBOX says: `off` does nothing, `require` raises SandboxMissing unless the level is full."""
    if mode == "off":
        return Level("none", "The sandbox is switched off (PORTAL_SANDBOX=off).")
    if mode not in ("auto", "require"):
        raise ValueError(f"PORTAL_SANDBOX is {mode!r}; it must be auto, require or off.")
    level = enter(allowed)
    if mode == "require" and level.name != "full":
        raise SandboxMissing(
            f"Models run here only inside the whole sandbox (PORTAL_SANDBOX=require). {level.missing} "
            "Change that on the host, or set PORTAL_SANDBOX=auto."
        )
    return level


def enter(allowed: Allowed) -> Level:
    """Put this process into the sandbox permanently, and return the level reached, which is tested by trying to escape.

    Call it in a new process with one thread: other threads would stay outside of Landlock. NumPy starts threads when it
    is imported. Raises FileNotFoundError for a path in `allowed` that does not exist.
    """
    missing = []
    if _count_threads() > 1:
        missing.append("Other threads ran already and stay outside.")
    if not canary.is_readable(allowed.canary):
        missing.append("The file that is to be out of reach could not be read before, so that nothing is proved.")
    _close_descriptors(allowed.descriptors)
    capabilities.forbid_new_privileges()
    if sentence := capabilities.drop_all():
        missing.append(sentence)
    layers = 2
    try:
        landlock.restrict(read=allowed.read, write=allowed.write, devices=allowed.devices)
    except landlock.Unavailable as error:
        missing.append(str(error))
        layers -= 1
    try:
        seccomp.restrict(has_gpu=allowed.has_gpu)
    except seccomp.Unavailable as error:
        missing.append(str(error))
        layers -= 1
    if holes := canary.find_holes(allowed.canary):
        missing.append(f"{', '.join(holes).capitalize()}.")
    if not missing:
        return Level("full")
    return Level("partial" if layers else "none", " ".join(missing))


def _count_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208
    except OSError:
        return 1


def _close_descriptors(kept: tuple[int, ...]) -> None:
    """Close all but standard input, output, error and `kept`."""
    start = 3
    for descriptor in sorted({*kept, os.sysconf("SC_OPEN_MAX")}):
        os.closerange(start, descriptor)
        start = max(start, descriptor + 1)
