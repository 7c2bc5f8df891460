"""Bells: files whose bytes change when something happened. Listening costs less than a microsecond.

INSTANCES: an instance has moved. Every web process holds what is loaded in memory; so a load that was answered is seen
by the very next request, whichever process takes it. TASKS: something was queued for a cluster (models_app/broker.py).

A bell has one sound for all that happens, and one for each subject (a model's name): who asks a model need not wait for
what becomes of another. The first eight bytes are the sound of all; those of a subject lie where its name's sum says.
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
"""Two subjects in the same place are taken for one."""
_IN_MODIFY = 2
_EVENTS_BYTES = 4096
_WITHOUT_INOTIFY_S = 0.02


def ring(name: str = INSTANCES, subject: str = ALL) -> None:
    """Say that something moved. Never fails: who does not hear it looks into the database a little later."""
    sound = os.urandom(_LENGTH)
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for place in sorted({_place(subject), 0}, reverse=True):  # the sound of all comes last: it is heard first
                os.pwrite(descriptor, sound, place)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Heard:
    """All that a bell said at one moment."""

    sounds: bytes = b""

    def of(self, subject: str = ALL) -> bytes:
        place = _place(subject)
        return self.sounds[place : place + _LENGTH].ljust(_LENGTH, b"\0")


class Bell:
    """Listens. Opened when it is first needed. `wait` is for one thread at a time."""

    def __init__(self, name: str = INSTANCES) -> None:
        self._name = name
        self._descriptor: int | None = None
        self._watch: int | None = None

    def sound(self, subject: str = ALL) -> bytes:
        """What was last said of it; zeros where nothing ever was, or it cannot be heard."""
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
        """Sleep until it says something else of all than `heard`, at most so long."""
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
    """Where the sound of a subject begins. Not Python's hash, which is another one in each process."""
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
