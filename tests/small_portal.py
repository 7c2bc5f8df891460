"""A portal with small limits on a small disk: what is too large, what does not fit, what is taken from a folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running_portal import RunningPortal

SMALL_UPLOAD_BYTES = 100 * 2**20
DISK_MIB = 256 + 60  # the portal leaves 256 MiB free: an upload of more than 60 MiB does not fit


@dataclass(frozen=True, slots=True)
class SmallPortal:
    """`is_disk_small`: whether the data lie on a disk of DISK_MIB, which takes the right to mount one."""

    portal: RunningPortal
    imports: Path
    is_disk_small: bool


@contextmanager
def small_disk(folder: Path, mib: int = DISK_MIB) -> Iterator[tuple[Path, bool]]:
    """A tmpfs mounted at `folder`, or the folder itself where mounting is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield folder, is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, timeout=20, check=False)


@contextmanager
def disk_to_fill(folder: Path, mib: int) -> Iterator[Path]:
    """A new folder with `mib` MiB of room. Skips the test where none can be mounted."""
    folder.mkdir()
    with small_disk(folder, mib) as (disk, is_small):
        if not is_small:
            pytest.skip("a small disk cannot be mounted here, and a large one is not filled by a test")
        yield disk
