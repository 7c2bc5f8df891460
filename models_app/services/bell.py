"""Bells: files whose bytes change when something happened. Listening costs less than a microsecond.

INSTANCES: an instance has changed state. Web processes hold what is loaded in memory; the bell lets the very next
request see a load that was answered, whichever process takes it. TASKS: something was queued for a cluster
(models_app/broker.py).

A bell has one sound (eight random bytes) for all events, and one for each subject (a model's name), so that a request
for one model need not wait for changes of another. The sound for all is at the start of the file, a subject's at an
offset that its name's checksum gives.
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

INSTANCES = "bell"
TASKS = "bell-tasks"
ALL = ""
_LENGTH = 8
_SUBJECTS = 1024
"""Subjects with the same offset are treated as one."""
_IN_MODIFY = 2
_EVENTS_BYTES = 4096
_WITHOUT_INOTIFY_S = 0.02


def ring(name: str = INSTANCES, subject: str = ALL) -> None:
    """Announce an event. Never raises: listeners also check the database now and then."""
    sound = os.urandom(_LENGTH)
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for place in sorted({_place(subject), 0}, reverse=True):  # the sound for all last: it is read first
                os.pwrite(descriptor, sound, place)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Heard:
    """All sounds of a bell at one moment."""

    sounds: bytes = b""

    def of(self, subject: str = ALL) -> bytes:
        place = _place(subject)
        return self.sounds[place : place + _LENGTH].ljust(_LENGTH, b"\0")


class Bell:
    """Listens to a bell; opens its file on first use. `wait` is for one thread at a time."""

    def __init__(self, name: str = INSTANCES) -> None:
        self._name = name
        self._descriptor: int | None = None
        self._watch: int | None = None

    def sound(self, subject: str = ALL) -> bytes:
        """The last sound of the subject; zeros where there was none, or the file cannot be read."""
        return self._read(_LENGTH, _place(subject)).ljust(_LENGTH, b"\0")

    def hear(self) -> Heard:
        return Heard(self._read(_LENGTH * (_SUBJECTS + 1), 0))

    def _read(self, length: int, place: int) -> bytes:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(_path(self._name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            return os.pread(self._descriptor, length, place)
        except OSError:
            return b""

    def wait(self, heard: bytes, timeout_s: float) -> None:
        """Sleep until the sound for all differs from `heard`, for `timeout_s` at most."""
        until = time.monotonic() + timeout_s
        if self._watch is None:
            self._watch = _watch_file(_path(self._name))
        watched = select.poll()  # not select(), which fails beyond descriptor 1023
        if self._watch is not None:
            watched.register(self._watch, select.POLLIN)
        while self.sound() == heard and (left := until - time.monotonic()) > 0:
            if self._watch is None:
                time.sleep(min(left, _WITHOUT_INOTIFY_S))
            elif watched.poll(math.ceil(left * 1000)):
                os.read(self._watch, _EVENTS_BYTES)

    def close(self) -> None:
        for descriptor in (self._descriptor, self._watch):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._watch = None


def _place(subject: str) -> int:
    """The offset of a subject's sound. Not by Python's hash, which differs between processes."""
    return 0 if subject == ALL else _LENGTH * (1 + zlib.crc32(subject.encode()) % _SUBJECTS)


def _path(name: str) -> str:
    return f"{settings.PORTAL_DATA_DIR}/{name}"


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
