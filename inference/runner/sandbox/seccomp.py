"""A seccomp filter: the kernel answers system calls that a model never needs with an error.

Landlock restricts access to files; this blocks what Landlock does not: starting programs, every kind of network, other
processes, changing the mode, owner or times of files. It lists denied calls, not allowed ones: engines use some hundred
calls, which differ between their versions, and none of the denied ones.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from inference.runner.sandbox import syscalls
from inference.runner.sandbox.syscalls import X86_64, Architecture

EPERM, ENOSYS, PRETEND = errno.EPERM, errno.ENOSYS, 0
"""What the caller sees. PRETEND: the call does nothing and reports success."""

# linux/bpf_common.h, linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERROR, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_X32_BIT = 0x40000000

_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACES = 0x7E020000
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_TYPE_MASK = 1, 1, 5, 0xF
_PR_SET_PDEATHSIG = 1
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_F_SETLEASE, _F_NOTIFY, _F_SETDELEG = 1024, 1026, 1040
_TIOCSTI, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x8901, 0x8902
# linux/fs.h, linux/fsverity.h, including the 32-bit variants
_FS_SETFLAGS, _FS32_SETFLAGS, _FS_SETVERSION, _FS32_SETVERSION = 0x40086602, 0x40046602, 0x40087602, 0x40047602
_FS_FSSETXATTR, _FS_ENABLE_VERITY = 0x401C5820, 0x40806685
_FLAGS_OF_FILES = (
    _FS_SETFLAGS, _FS32_SETFLAGS, _FS_SETVERSION, _FS32_SETVERSION, _FS_FSSETXATTR, _FS_ENABLE_VERITY,
)  # fmt: skip

DENIED = (
    # starting programs
    "execve", "execveat", "fork", "vfork",
    # the network; `listen` and `accept` stay: the listening socket is inherited
    "socket", "bind", "connect",
    # other processes; the last two would take the runner out of the group that its owner kills
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_getfd",
    "pidfd_send_signal", "tkill", "setpgid", "setsid",
    # memory, semaphores and messages shared by number instead of by path; a number can be guessed
    "shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
    "mq_open",
    # mounts, namespaces, handles of files
    "mount", "umount2", "move_mount", "mount_setattr", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount",
    "fspick", "pivot_root", "chroot", "unshare", "setns", "name_to_handle_at", "open_by_handle_at",
    # the kernel: programs in it, modules, keys, clocks, limits
    "bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "keyctl", "add_key", "request_key", "acct", "quotactl", "quotactl_fd", "swapon", "swapoff",
    "reboot", "iopl", "ioperm", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
    "setdomainname", "syslog", "vhangup", "capset",
    # other files: Landlock before ABI 3 does not check `truncate` by path; ftruncate of an open file stays allowed
    "truncate", "mknod", "mknodat", "fanotify_init", "fanotify_mark", "inotify_add_watch",
)  # fmt: skip

UNKNOWN = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create", "memfd_secret")
"""These fail as on a kernel without them: glibc then starts threads by `clone`, whose flags a filter can check. Memory
that is written as a file counts for no process: a memory limit would not see it."""

FOR_CUDA = ("socket", "bind", "memfd_create")
"""CUDA binds a Unix socket of its own when it starts (`@cuda-uvmfd-…`), and fails without. So with a GPU `bind` is
allowed, and `socket` for those kinds of Unix sockets that can send nothing before they are connected. `connect` stays
denied, and Landlock still denies sockets in the file system. Whether CUDA needs `memfd_create` was not tried."""

PRETENDED = (
    # Landlock does not check these. EPERM would break OpenVINO's cache, which sets modes on its own files.
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes",
    "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr",
    "fremovexattr", "removexattrat", "file_setattr",
)  # fmt: skip


class Unavailable(Exception):
    """This kernel takes no filter; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of classic BPF (struct sock_filter); jumps are the number of instructions to skip."""

    code: int
    operand: int
    if_true: int = 0
    if_false: int = 0


def restrict(*, has_gpu: bool = False) -> None:
    """Install the filter permanently for all threads of this process. Needs no_new_privs. Raises Unavailable."""
    machine = syscalls.architecture()
    if machine is None:
        raise Unavailable("Programs and the network are not denied: the filter knows no processor of this kind.")
    install(build(machine, os.getpid(), has_gpu=has_gpu), machine)


def install(steps: Sequence[Step], machine: Architecture) -> None:
    """Give the kernel a filter for all threads of this process. Raises Unavailable."""
    code = b"".join(struct.pack("HBBI", step.code, step.if_true, step.if_false, step.operand) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.addressof(buffer))
    number = syscalls.number("seccomp", machine)
    assert number is not None
    try:
        refused_by = syscalls.call(number, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program))
    except OSError as error:
        raise Unavailable(
            f"Programs and the network are not denied: the kernel or the container takes no filter ({error.strerror})."
        ) from None
    if refused_by:
        raise Unavailable("Programs and the network are not denied: a thread has a filter of its own.")


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def build(machine: Architecture, pid: int, *, has_gpu: bool = False) -> list[Step]:
    """The filter for one process. A call under another architecture's numbers ends the process."""
    steps = [
        Step(_LOAD, _ARCHITECTURE),
        Step(_EQUAL, machine.audit, if_true=1),
        Step(_RETURN, _KILL_PROCESS),
        Step(_LOAD, _NUMBER),
    ]
    if machine is X86_64:  # x32: the same calls with other numbers and 32-bit pointers
        steps += [Step(_AT_LEAST, _X32_BIT, if_false=1), _answer(ENOSYS)]
    allowed = FOR_CUDA if has_gpu else ()
    for names, error in ((DENIED, EPERM), (UNKNOWN, ENOSYS), (PRETENDED, PRETEND)):
        for name in (name for name in names if name not in allowed):
            steps += _when(name, machine, [_answer(error)])
    if has_gpu:
        steps += _when("socket", machine, _unix_only(_SOCK_STREAM, _SOCK_SEQPACKET))
    for name, body in _by_arguments(pid):
        steps += _when(name, machine, body)
    return [*steps, Step(_RETURN, _ALLOW)]


def _by_arguments(pid: int) -> list[tuple[str, list[Step]]]:
    """Calls that are denied depending on their arguments. The filter sees whether a pointer is null, not its target."""
    oneself = (0, pid)
    return [
        ("clone", _threads_only()),
        ("socketpair", _unix_only(_SOCK_STREAM)),
        ("sendto", _without_an_address()),
        ("kill", _only_if(0, (pid,), EPERM)),
        ("tgkill", _only_if(0, (pid,), EPERM)),
        ("rt_sigqueueinfo", _only_if(0, (pid,), EPERM)),
        ("rt_tgsigqueueinfo", _only_if(0, (pid,), EPERM)),
        ("prlimit64", _only_if(0, oneself, EPERM)),
        ("sched_setscheduler", _only_if(0, oneself, EPERM)),
        ("sched_setparam", _only_if(0, oneself, EPERM)),
        ("sched_setattr", _only_if(0, oneself, EPERM)),
        # A thread is given by its own id, which the filter cannot know: engines that pin their threads run unpinned.
        ("sched_setaffinity", _only_if(0, oneself, PRETEND)),
        # Only with the first argument for a process: for a user, 0 means all of the user's processes.
        ("setpriority", [*_demand(0, _PRIO_PROCESS), *_only_if(1, oneself, EPERM)]),
        ("ioprio_set", [*_demand(0, _IOPRIO_WHO_PROCESS), *_only_if(1, oneself, EPERM)]),
        ("migrate_pages", _only_if(0, oneself, EPERM)),
        ("move_pages", _only_if(0, oneself, EPERM)),
        ("prctl", _unless(0, (_PR_SET_PDEATHSIG,))),
        # A lease, which needs only a readable file, delays whoever else opens that file for 45 s.
        ("fcntl", _unless(1, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETLEASE, _F_NOTIFY, _F_SETDELEG))),
        ("ioctl", _unless(1, (_TIOCSTI, _FIOSETOWN, _SIOCSPGRP, *_FLAGS_OF_FILES))),
    ]


def _when(name: str, machine: Architecture, body: Sequence[Step]) -> list[Step]:
    """Apply `body`, which must end with an answer, to the call `name`; [] if the architecture has no such call."""
    number = syscalls.number(name, machine)
    return [] if number is None else [Step(_EQUAL, number, if_false=len(body)), *body]


def _demand(argument: int, value: int) -> list[Step]:
    """EPERM unless the argument (32 bits) has this value; otherwise the following steps decide."""
    return [_low(argument), Step(_EQUAL, value, if_true=1), _answer(EPERM)]


def _only_if(argument: int, values: Sequence[int], error: int) -> list[Step]:
    """Allow if the argument (an int of C: 32 bits) is one of the values."""
    checks = [Step(_EQUAL, value, if_true=len(values) - i) for i, value in enumerate(values)]
    return [_low(argument), *checks, _answer(error), Step(_RETURN, _ALLOW)]


def _unless(argument: int, values: Sequence[int]) -> list[Step]:
    """EPERM if the argument (32 bits) is one of the values, else allow."""
    checks = [Step(_EQUAL, value, if_true=len(values) - i) for i, value in enumerate(values)]
    return [_low(argument), *checks, Step(_RETURN, _ALLOW), _answer(EPERM)]


def _threads_only() -> list[Step]:
    return [
        _low(0),
        Step(_ANY_BIT, _CLONE_NEW_NAMESPACES, if_true=1),
        Step(_ANY_BIT, _CLONE_THREAD, if_true=1),
        _answer(EPERM),
        Step(_RETURN, _ALLOW),
    ]


def _unix_only(*kinds: int) -> list[Step]:
    """Allow Unix sockets of these kinds only. A datagram socket could send to any other socket by name."""
    return [
        _low(0),
        Step(_EQUAL, _AF_UNIX, if_false=2 + len(kinds)),
        _low(1),
        Step(_AND, _SOCK_TYPE_MASK),
        *(Step(_EQUAL, kind, if_true=len(kinds) - i) for i, kind in enumerate(kinds)),
        _answer(EPERM),
        Step(_RETURN, _ALLOW),
    ]


def _without_an_address() -> list[Step]:
    return [
        _low(4),
        Step(_EQUAL, 0, if_false=2),
        Step(_LOAD, _ARGUMENTS + 8 * 4 + 4),
        Step(_EQUAL, 0, if_true=1),
        _answer(EPERM),
        Step(_RETURN, _ALLOW),
    ]


def _low(argument: int) -> Step:
    """Load the low half of an argument; both architectures are little-endian."""
    return Step(_LOAD, _ARGUMENTS + 8 * argument)


def _answer(error: int) -> Step:
    return Step(_RETURN, _ERROR | error)
