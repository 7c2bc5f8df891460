"""Notifications between processes: files whose bytes change when something happened. A look costs under a microsecond.

Channel INSTANCES: an instance has changed state. Web processes hold what is loaded in memory; a notification lets the
very next request see a load that was answered, whichever process takes it. Channel TASKS: something was queued for a
cluster (models_app/broker.py).

A channel has one token (eight random bytes) for all events, and one for each subject (a model's name), so that a
request for one model need not wait for changes of another. The token for all is at the start of the file, a subject's
at an offset that its name's checksum gives.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import time
import zlib
from dataclasses import dataclass

from django.conf import settings

INSTANCES = "notify-instances"
TASKS = "notify-tasks"
ALL = ""
_LENGTH = 8
_SUBJECTS = 1024
"""Subjects with the same offset are treated as one."""
_IN_MODIFY = 2
_EVENTS_BYTES = 4096
_WITHOUT_INOTIFY_S = 0.02


def notify(channel: str = INSTANCES, subject: str = ALL) -> None:
    """Announce an event. Never raises: listeners also check the database now and then."""
    token = os.urandom(_LENGTH)
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(channel), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for offset in sorted({_offset(subject), 0}, reverse=True):  # the token for all last: it is read first
                os.pwrite(descriptor, token, offset)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All tokens of a channel at one moment."""

    tokens: bytes = b""

    def token(self, subject: str = ALL) -> bytes:
        offset = _offset(subject)
        return self.tokens[offset : offset + _LENGTH].ljust(_LENGTH, b"\0")


class Listener:
    """Listens to a channel; opens its file on first use. `wait` is for one thread at a time."""

    def __init__(self, channel: str = INSTANCES) -> None:
        self._channel = channel
        self._descriptor: int | None = None
        self._watch: int | None = None

    def token(self, subject: str = ALL) -> bytes:
        """The last token of the subject; zeros where there was no event, or the file cannot be read."""
        return self._read(_LENGTH, _offset(subject)).ljust(_LENGTH, b"\0")

    def snapshot(self) -> Snapshot:
        return Snapshot(self._read(_LENGTH * (_SUBJECTS + 1), 0))

    def _read(self, length: int, offset: int) -> bytes:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(_path(self._channel), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            return os.pread(self._descriptor, length, offset)
        except OSError:
            return b""

    def wait(self, seen: bytes, timeout_s: float) -> None:
        """Sleep until the token for all differs from `seen`, for `timeout_s` at most."""
        until = time.monotonic() + timeout_s
        if self._watch is None:
            self._watch = _watch_file(_path(self._channel))
        watched = select.poll()  # not select(), which fails beyond descriptor 1023
        if self._watch is not None:
            watched.register(self._watch, select.POLLIN)
        while self.token() == seen and (left := until - time.monotonic()) > 0:
            if self._watch is None:
                time.sleep(min(left, _WITHOUT_INOTIFY_S))
            elif watched.poll(math.ceil(left * 1000)):
                os.read(self._watch, _EVENTS_BYTES)

    def close(self) -> None:
        for descriptor in (self._descriptor, self._watch):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._watch = None


def _offset(subject: str) -> int:
    """The offset of a subject's token. Not by Python's hash, which differs between processes."""
    return 0 if subject == ALL else _LENGTH * (1 + zlib.crc32(subject.encode()) % _SUBJECTS)


def _path(channel: str) -> str:
    return f"{settings.PORTAL_DATA_DIR}/{channel}"


def _watch_file(path: str) -> int | None:
    """A descriptor that can be read when somebody has written to the file (inotify(7)); None where there is none."""
    libc = ctypes.CDLL(None)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(descriptor)
        return None
    return descriptor
