"""Limits of one runner's use of the host. The kernel enforces them, whatever the model does."""

from __future__ import annotations

import resource
from pathlib import Path

FILE_SIZE_BYTES = 4 * 2**30
OPEN_FILES = 1024
OOM_SCORE_ADJ = 500  # of 1000: the kernel ends a runner before the database and the web


def apply_limits() -> None:
    """Limit this process and its later children permanently. Call it in a new child, before the engine is imported.

    A limit that is already tighter stays. A write beyond FILE_SIZE_BYTES raises OSError (EFBIG): Python ignores the
    signal that would end the process. No RLIMIT_AS: address space says little of memory in use, and CUDA maps far more
    than it uses. No RLIMIT_NPROC: it counts all threads of the user, not of this process.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, FILE_SIZE_BYTES)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _raise_oom_score(OOM_SCORE_ADJ)


def _lower(limit: int, value: int) -> None:
    """Set the soft and the hard limit, so that the process cannot lift it again."""
    for present in resource.getrlimit(limit):
        if present != resource.RLIM_INFINITY:
            value = min(value, present)
    resource.setrlimit(limit, (value, value))


def _raise_oom_score(value: int) -> None:
    path = Path("/proc/self/oom_score_adj")
    try:
        if int(path.read_text()) < value:
            path.write_text(str(value))
    except (OSError, ValueError):
        pass  # some containers mount /proc read-only; the score only says who is ended first
