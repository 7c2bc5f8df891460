"""The memory of this host: what is free, and how many processes the kernel killed for lack of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
)


def free_bytes() -> int:
    """What a new process could take: of the host, and of each limited control group around this process, as those of a
    container or of a service of systemd. What a group uses only to keep files in memory is free."""
    return int(min([psutil.virtual_memory().available, *map(_free_in, set(_groups()))]))


def _groups() -> Iterator[Path]:
    """The control groups of memory around this process. In a container its own group is the topmost folder, also where
    the host's name of it is told."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # a kernel without control groups
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            top = _GROUPS / controllers
            inner = top / path.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def _free_in(folder: Path) -> float:
    """Infinite where the group has no limit."""
    for limit, used, of_files in _FILES:
        try:
            facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            left = int((folder / limit).read_text()) - int((folder / used).read_text()) + int(facts[of_files])
        except (OSError, ValueError, KeyError):  # no such file, or "max"
            continue
        return max(0, left)
    return math.inf


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory since boot; 0 if it does not say.

    This includes kills because of a container's limit (mm/oom_kill.c, OOM_KILL).
    """
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
