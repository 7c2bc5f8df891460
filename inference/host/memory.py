"""The memory of this host: what is free, and how many processes the kernel killed for lack of it."""

from __future__ import annotations

from pathlib import Path

import psutil

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_bytes() -> int:
    """What a new process could take: of the host, and of the container if that is limited."""
    free = int(psutil.virtual_memory().available)
    for limit_path, used_path in _CGROUP_FILES:
        try:
            limit, used = int(Path(limit_path).read_text()), int(Path(used_path).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        free = min(free, max(0, limit - used))
    return free


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
