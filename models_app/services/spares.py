"""Warm spares (PORTAL_WARM_SPARES): idle workers of the models cluster keep processes that have imported TensorFlow.

The owner of a runner has to be its parent, so a spare belongs to the worker that will own it: one that waits for its
task. Their number is limited by locks on files, which the kernel releases when a worker dies (docs/adr/0011).
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from inference.host.devices import Device, device_for, list_devices, load_nvml, visible_devices_environment
from inference.owner.started_runner import Assignment, InvalidReport, StartedRunner, start_spare
from inference.runner.config import RunnerConfig
from inference.workspace import Workspace

logger = logging.getLogger("portal.spares")

ENGINE = "tensorflow"
LOOK_EVERY_S = 0.5
REST_AFTER_DEATH_S = 30.0
HEAD_START_S = 0.05
"""A worker without a spare leaves a task to those that have one for this long."""


@dataclass(slots=True)
class Spare:
    """One warm process of this worker; `lock` holds its place among PORTAL_WARM_SPARES."""

    runner: StartedRunner
    device: Device
    lock: int
    is_warm: bool = False


class SpareKeeper:
    """At most one spare, for the worker that it lives in. Called from the worker's main thread only."""

    def __init__(self) -> None:
        self._spare: Spare | None = None
        self._used: int | None = None
        self._not_before = 0.0

    def look(self) -> None:
        """While the worker waits: start one where a place is free, notice when it is warm or has ended."""
        if self._spare is None:
            if time.monotonic() >= self._not_before:
                self._start()
            return
        if self._spare.runner.has_ended:
            logger.warning("a warm process ended: %s", self._spare.runner.why_ended())
            self._not_before = time.monotonic() + REST_AFTER_DEATH_S
            self.discard()
        elif not self._spare.is_warm:
            self._spare.is_warm = _says_warm(self._spare.runner)

    def leave_to_others(self) -> None:
        """A task is there: let a worker with a warm process have it, if there is one."""
        if (self._spare is None or not self._spare.is_warm) and _is_any_place_taken():
            time.sleep(HEAD_START_S)

    def take(self, config: RunnerConfig, device: Device) -> StartedRunner | None:
        """The warm process, which the caller owns from now on. One that does not suit the model is ended.

        One that still imports its engine is taken too: it looks for its model afterwards.
        """
        spare = self._spare
        if spare is None:
            return None
        # How many threads it takes is fixed when the engine starts.
        suits = config.engine == ENGINE and config.threads is None and spare.device.id == device.id
        if not suits or spare.runner.has_ended:
            self.discard()
            return None
        self._spare, self._used = None, spare.lock
        return spare.runner

    def give_place_back(self) -> None:
        """The load that took the warm process has ended: now the next one may be started.

        Not before: on two cores its import would make that load take twice as long.
        """
        if self._used is not None:
            os.close(self._used)
            self._used = None

    def discard(self) -> None:
        """End it and give its place back."""
        if self._spare is not None:
            spare, self._spare = self._spare, None
            spare.runner.kill()
            spare.runner.close()
            if spare.runner.workspace is not None:
                spare.runner.workspace.remove()
            os.close(spare.lock)

    def _start(self) -> None:
        place = _take_place()
        if place is None:
            return
        number, lock = place
        name = f"spare{number}"
        for path in Path(settings.PORTAL_SOCKETS_DIR).glob(f"{name}-*.sock"):  # of a worker that was killed
            path.unlink(missing_ok=True)
        device = device_for(ENGINE, list_devices(load_nvml()))
        assignment = Assignment(
            name=name,
            source=Path(),
            file_name="model",
            config=RunnerConfig(model_path="", format="", engine=ENGINE, sandbox=settings.PORTAL_SANDBOX),
            workspace=Workspace(settings.PORTAL_RUN_DIR / f"spare-{number}"),
            sockets=settings.PORTAL_SOCKETS_DIR,
            log_path=Path(os.devnull),
            environment=visible_devices_environment(device),
        )
        try:
            self._spare = Spare(start_spare(assignment, time.monotonic()), device, lock)
        except OSError:
            logger.exception("a warm process could not be started")
            self._not_before = time.monotonic() + REST_AFTER_DEATH_S
            os.close(lock)


def _says_warm(runner: StartedRunner) -> bool:
    try:
        return any(report.get("event") == "warm" for report in runner.read_reports() or ())
    except InvalidReport:
        runner.kill()
        return False


def _lock_path(number: int) -> Path:
    return Path(settings.PORTAL_RUN_DIR) / f"spare-{number}.lock"


def _take_place() -> tuple[int, int] | None:
    """The number of a free place and the descriptor that holds it; the kernel frees it when this process ends."""
    for number in range(settings.PORTAL_WARM_SPARES):
        # Not inherited by the spare itself (O_CLOEXEC is Python's default): else its place would outlive its worker.
        descriptor = os.open(_lock_path(number), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number, descriptor
        except BlockingIOError:
            os.close(descriptor)
    return None


def _is_any_place_taken() -> bool:
    for number in range(settings.PORTAL_WARM_SPARES):
        try:
            descriptor = os.open(_lock_path(number), os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


spares = SpareKeeper()
