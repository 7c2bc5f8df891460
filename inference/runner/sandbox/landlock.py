"""Landlock: the kernel's own wall around files, TCP ports, signals and abstract sockets. Needs no root.

See linux/landlock.h. It restricts the calling thread and what it starts later; other existing threads stay outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from inference.runner.sandbox import syscalls

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = 1 << 9, 1 << 10, 1 << 11, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1

READING = READ_FILE | READ_DIR
WRITING = READING | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
"""Without creating symbolic links, sockets or pipes, which could mislead a process that looks in from outside."""
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
ON_A_FILE = EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a rule for anything but a folder may contain; the kernel refuses others."""

_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1


class Unavailable(Exception):
    """This kernel or container offers no Landlock; the message is a sentence for people."""


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """The ABI of this kernel, 1 or more. Raises Unavailable."""
    try:
        return syscalls.call(syscalls.LANDLOCK_CREATE_RULESET, None, 0, _VERSION)
    except OSError as error:
        raise _sentence(error) from None


def restrict(*, read: Iterable[Path], write: Iterable[Path], devices: Iterable[Path]) -> None:
    """Wall the calling thread in, for good. Needs no_new_privs.

    Only `read` may be read, `write` read and changed, `devices` read, written and used with ioctl. Folders include
    everything beneath them; nothing may be executed. Raises Unavailable, and FileNotFoundError for a path that does not
    exist: a silently omitted rule would only be noticed much later, when a model fails.
    """
    abi = version()
    files = _files_known_to(abi)
    attributes = _RulesetAttributes(
        files, BIND_TCP | CONNECT_TCP if abi >= 4 else 0, SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if abi >= 6 else 0
    )
    # Older kernels accept a structure longer than the one they know only if the rest is zero, as it is here.
    try:
        ruleset = syscalls.call(
            syscalls.LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0
        )
    except OSError as error:
        raise _sentence(error) from None
    try:
        for paths, rights in ((read, READING), (write, WRITING), (devices, DEVICE | READ_DIR)):
            for path in paths:
                _allow(ruleset, path, rights & files)
        syscalls.call(syscalls.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _sentence(error) from None
    finally:
        os.close(ruleset)


def _files_known_to(abi: int) -> int:
    """Every right on files that this ABI can restrict; those not listed in the ruleset would stay allowed."""
    known = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        known |= right if abi >= since else 0
    return known


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ON_A_FILE
        rule = _PathBeneath(rights, descriptor)
        syscalls.call(syscalls.LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    except BaseException:
        os.close(descriptor)
        raise
    if not path.is_relative_to("/proc"):
        # Those of /proc stay open: a rule belongs to an inode, and when memory is short the kernel drops inodes of
        # /proc that are not open, with their rules, and makes new ones later.
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _sentence(error: OSError) -> Unavailable:
    if error.errno == errno.EOPNOTSUPP:
        return Unavailable("Files are not walled off: Landlock is switched off at the start of this kernel.")
    if error.errno in (errno.ENOSYS, errno.EPERM, errno.EACCES):
        return Unavailable("Files are not walled off: the kernel or the container does not offer Landlock.")
    return Unavailable(f"Files are not walled off: Landlock answered with error {error.errno}.")
