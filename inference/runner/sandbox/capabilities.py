"""Gives up the special rights of root (capabilities). Without root there is nothing to give up."""

from __future__ import annotations

import ctypes
import errno

from inference.runner.sandbox import syscalls

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 38, 24, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def forbid_new_privileges() -> None:
    """From now on setuid programs give this process and its children no rights. Landlock and seccomp require this."""
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_all() -> str:
    """Empty every capability set of this thread. Returns a sentence if that failed, else "".

    Capabilities are only removed: gaining some would clear the parent-death signal.
    """
    for capability in range(_MOST_CAPABILITIES):
        try:
            syscalls.prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:  # beyond the last one that this kernel knows
                break
            # EPERM: not root. The bounding set means nothing where nothing can be executed.
    try:
        syscalls.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass  # emptying the permitted set clears it anyway
    machine = syscalls.architecture()
    number = None if machine is None else syscalls.number("capset", machine)
    try:
        if number is None:
            raise OSError(errno.ENOSYS, "")
        syscalls.call(number, ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref((_Sets * 2)()))
    except OSError:
        return "The rights of root could not be given up."
    return ""
