"""Facts about Linux processes, and ending them without ever hitting an unrelated process.

A pid may be reused once its process is reaped. So a process is identified by pid, start time and boot id, and signals
go through a pidfd, which always refers to the process it was opened for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import select
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PIDFD_SIGNAL_PROCESS_GROUP = 4  # Linux 6.9
_AFTER_SIGKILL_S = 5.0
_DEAD_STATES = frozenset("ZXx")

_INHERITED_NAMES = frozenset(
    {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XLA_FLAGS", "PYTHONPATH", "PYTHONUTF8"}
)
_INHERITED_PREFIXES = ("OMP_", "KMP_", "MKL_", "OPENBLAS_", "TF_", "CUDA_", "OV_")
_DEFAULTS = {"OPENBLAS_NUM_THREADS": "1"}
"""Turns off NumPy's own threads: no engine uses them, and they spin for 90 ms of processor time at NumPy's import."""
_ALWAYS = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""Unbuffered: people need the last lines before a crash. No bytecode: the sandbox forbids writing it."""
NO_GPU: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": "-1"}
"""The environment of a process that is to see no GPU."""
_NEVER_PREFIXES = ("PORTAL_", "DJANGO_", "DATABASE_URL", "REDIS_URL")
_SECRET_WORDS = ("SECRET", "TOKEN", "PASSWORD", "KEY")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot. `started_at` is in clock ticks since boot, so wall clock changes do not affect it."""

    pid: int
    started_at: int
    boot_id: str


@functools.cache
def boot_id() -> str:
    """The random id of this boot, or "" where /proc does not show it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a process, which may have ended but not been reaped; None if there is no such process."""
    stat = _stat(pid)
    return None if stat is None else ProcessIdentity(pid, stat.started_at, boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether this very process still runs; one that has ended but not been reaped (a zombie) does not."""
    stat = _stat(identity.pid)
    return stat is not None and _matches(identity, stat) and stat.state not in _DEAD_STATES


def end_group(identity: ProcessIdentity, grace_s: float) -> None:
    """Send SIGTERM to a leader's process group, wait up to `grace_s` for the leader, then send SIGKILL to the group.
    Returns when the leader has ended, at the latest 5 s after the SIGKILL.

    Does nothing if the process is gone or its pid now belongs to another one. The group of an already reaped leader is
    not touched: nothing proves any more that it is the same group. Reaping is left to the parent. Raises
    PermissionError for a process of another user.
    """
    try:
        pidfd = os.pidfd_open(identity.pid)
    except (ProcessLookupError, OverflowError):
        return
    try:
        # Checked after opening the pidfd: if the identity matches now, the pidfd always refers to that process.
        stat = _stat(identity.pid)
        if stat is None or not _matches(identity, stat):
            return
        _signal_group(identity, pidfd, signal.SIGTERM)
        _wait(pidfd, grace_s)
        _signal_group(identity, pidfd, signal.SIGKILL)
        _wait(pidfd, _AFTER_SIGKILL_S)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def reap_orphans(own: Collection[int]) -> None:
    """Reap ended orphans that this process has inherited, as the first process of a container inherits them all.

    `own` are the pids that somebody else here waits for: their exit codes are kept. Stops at the first of them that has
    ended.
    """
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, 0)


def works_below(pid: int, folder: Path) -> bool:
    """Whether its working directory lies below this folder; False where that cannot be seen."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder.resolve())
    except OSError:
        return False


def memory_bytes(pid: int) -> int | None:
    """Memory of a process in bytes: PSS (shared pages divided among their users), else RSS; None if it is gone."""
    return _pss_bytes(pid) or _rss_bytes(pid)


def takes_more_than(pid: int, limit_bytes: int) -> bool:
    """Whether `memory_bytes` is above the limit; fast while RSS is below it, so suitable for frequent polling."""
    rss = _rss_bytes(pid)
    return rss is not None and rss > limit_bytes and (memory_bytes(pid) or 0) > limit_bytes


def die_with_parent(expected_parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; exit at once if the parent is gone already.

    The kernel acts when the *thread* that started this process ends: start it from a thread that lives as long as the
    parent. A fork clears the setting, an exec keeps it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != expected_parent_pid:
        os._exit(1)  # no clean-up: after a fork that would be the parent's


def scrubbed_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a runner: what Python needs to start, variables that tune engines, and `extra` on top.

    HOME is not inherited: put the runner's own folder in `extra`. Raises ValueError if `extra` names a setting of the
    portal or a secret.
    """
    for name in extra:
        if _is_secret(name):
            raise ValueError(f"{name} must not reach a runner")
    inherited = {name: value for name, value in os.environ.items() if _is_inherited(name)}
    return {**_DEFAULTS, **inherited, **_ALWAYS, **extra}


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    started_at: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        # Field 2 is the program's name in brackets and may hold spaces and brackets: count from the last bracket.
        fields = text.rpartition(")")[2].split()
        return _Stat(state=fields[0], started_at=int(fields[19]))
    except (OSError, IndexError, ValueError):
        return None


def _matches(identity: ProcessIdentity, stat: _Stat) -> bool:
    return identity.boot_id == boot_id() and identity.started_at == stat.started_at


def _signal_group(identity: ProcessIdentity, pidfd: int, number: int) -> None:
    """Raises ProcessLookupError if the process leads no group."""
    try:
        signal.pidfd_send_signal(pidfd, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # An older kernel: signal by number, which no other process or group gets before the leader's parent reaps it.
        stat = _stat(identity.pid)
        if stat is not None and _matches(identity, stat):
            os.killpg(identity.pid, number)


def _wait(pidfd: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(max(0.0, seconds) * 1000)


def _is_inherited(name: str) -> bool:
    return (name in _INHERITED_NAMES or name.startswith(_INHERITED_PREFIXES)) and not _is_secret(name)


def _is_secret(name: str) -> bool:
    upper = name.upper()
    return upper.startswith(_NEVER_PREFIXES) or any(word in upper for word in _SECRET_WORDS)


def _pss_bytes(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    return None


def _rss_bytes(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") or None
