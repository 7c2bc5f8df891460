"""A control group with a limit of memory: what is in it and takes more is ended by the kernel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT_V1, ROOT_V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    folder: Path
    parent: Path

    def take(self, pid: int) -> None:
        """From now on what this process and its later children take is counted here."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def give_back(self) -> None:
        for pid in (self.folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (self.parent / "cgroup.procs").write_text(pid)


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Skips the test where no such group can be made, which takes root and a writable /sys/fs/cgroup."""
    root, limit = (ROOT_V1, "memory.limit_in_bytes") if ROOT_V1.is_dir() else (ROOT_V2, "memory.max")
    group = MemoryGroup(root / f"portal-tests-{os.getpid()}", root)
    try:
        group.folder.mkdir()
        (group.folder / limit).write_text(str(limit_bytes))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.folder.rmdir()
        pytest.skip(f"no control group of memory can be made here: {error.strerror}")
    try:
        yield group
    finally:
        group.give_back()
        with contextlib.suppress(OSError):
            group.folder.rmdir()
