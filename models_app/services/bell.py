"""Bells: eight bytes in a file each, which change when something happened. Listening costs less than a microsecond.

INSTANCES: an instance has moved. Every web process holds what is loaded in memory; so a load that was answered is seen
by the very next request, whichever process takes it. TASKS: something was queued for a cluster (models_app/broker.py).
"""

from __future__ import annotations

import contextlib
import os

from django.conf import settings

INSTANCES = "bell"
TASKS = "bell-tasks"
_LENGTH = 8


def ring(name: str = INSTANCES) -> None:
    """Say that something moved. Never fails: who does not hear it looks into the database a little later."""
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, os.urandom(_LENGTH), 0)
        finally:
            os.close(descriptor)


class Bell:
    """Listens. Opened when it is first needed."""

    def __init__(self, name: str = INSTANCES) -> None:
        self._name = name
        self._descriptor: int | None = None

    def sound(self) -> bytes:
        """What the bell last said; empty where it was never rung or cannot be heard."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(_path(self._name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            return os.pread(self._descriptor, _LENGTH, 0)
        except OSError:
            return b""


def _path(name: str) -> str:
    return f"{settings.PORTAL_DATA_DIR}/{name}"
