"""The host's files that Python and the engines need. Each entry is here because one of them failed without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from inference import PACKAGE_DIRECTORY

_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",  # TensorFlow aborts without it
    "/proc/cpuinfo",  # OpenVINO hangs and LiteRT is 7 times slower without it and /sys/devices/system
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",  # allocators ask
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")

_GPU_SYSTEM = (
    "/proc/driver/nvidia",
    "/proc/devices",
    "/proc/modules",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/devices",
    "/sys/module",
    "/etc/nvidia",
)
_GPU_DEVICES = ("nvidia*", "nvidia-caps/*", "dri/*", "dxg")


def standard_paths(*, has_gpu: bool = False) -> tuple[Path, ...]:
    """Files and folders that are only read, if they exist on this host."""
    libraries = [entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry.startswith("/")]
    code = [sys.prefix, sys.base_prefix, str(PACKAGE_DIRECTORY)]  # the engine's file is imported inside the sandbox
    named = [*code, *libraries, *_SYSTEM, *(_GPU_SYSTEM if has_gpu else ())]
    return _present(Path(name) for name in named)


def standard_devices(*, has_gpu: bool = False) -> tuple[Path, ...]:
    """Devices that are read and written, if they exist on this host."""
    found = [Path(name) for name in _DEVICES]
    if has_gpu:
        found += [path for pattern in _GPU_DEVICES for path in sorted(Path("/dev").glob(pattern))]
        # CUDA names its threads through /proc/self/task.
        found.append(Path("/proc/self"))
    return _present(found)


def _present(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The existing paths, without "/", which an unusual prefix could name."""
    unique = dict.fromkeys(paths)
    return tuple(path for path in unique if path.exists() and path.resolve() != Path("/"))
