"""Writes into the registry what the Owner of an instance reports about its runner."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connection
from django.utils import timezone

from inference.host.devices import Device, Nvml, device_memory
from inference.host.processes import ProcessIdentity
from inference.owner.reporting import Ready, Receipt, Vitals
from inference.refusal import size_words
from models_app.choices import InstanceState
from models_app.models import Instance, ModelVersion
from models_app.services import replace
from models_app.services.database_retry import with_retries, without_waiting
from models_app.services.move import NO_PROCESS, move
from models_app.services.spares import spares
from models_app.services.unload import instance_receipt

logger = logging.getLogger("portal.supervise")

WRITE_EVERY_S = 2.0
RATE_EVERY_S = 15.0
RATES_KEPT = 20
_S = InstanceState


@dataclass
class InstanceReporter:
    """The Reporter (inference/owner/reporting.py) of one instance that this worker has claimed."""

    instance: Instance
    device: Device
    nvml: Nvml | None
    used_before_bytes: int | None
    gpus: Sequence[str] = ()
    written_at: float = 0.0
    written: Vitals = field(default_factory=Vitals)
    rate_at: float = field(default_factory=time.monotonic)
    rate_requests: int = 0
    earlier_requests: int = 0
    earlier_errors: int = 0
    latest: Vitals | None = None
    """The last figures of the process that is ready."""

    def is_wanted(self) -> bool:
        try:
            state = Instance.objects.filter(pk=self.instance.pk).values_list("state", flat=True).first()
        except DatabaseError:
            connection.close()
            return True
        return state in {_S.LOADING, _S.READY, _S.RESTARTING}

    def waiting(self, reason: str) -> None:
        """Say why a claimed instance is not being loaded yet."""
        with_retries(lambda: self._rows(_S.LOADING).update(state_detail=reason))

    def loading(self, runner: ProcessIdentity, attempt: int) -> bool:
        fields = {"pid": runner.pid, "pid_started_at": runner.started_at, "boot_id": runner.boot_id, "loaded_at": None}
        if attempt == 1:
            return bool(with_retries(lambda: self._rows(_S.LOADING).update(state_detail="", **fields)))
        return self._move(_S.LOADING, [_S.RESTARTING], "Started again.", **fields)

    def ready(self, facts: Ready) -> bool:
        device = self.device.id if facts.device.startswith("gpu") else facts.device  # a runner sees only its own
        on_device = self._device_memory(device, facts.runner.pid)
        seconds = facts.load_seconds
        is_moved = self._move(
            _S.READY,
            [_S.LOADING],
            f"Loaded in {seconds:.1f} s as process {facts.runner.pid}.",
            socket=str(facts.socket),
            device=device,
            engine=facts.engine,
            precision=facts.precision,
            sandbox=facts.sandbox,
            load_seconds=seconds,
            loaded_at=timezone.now(),
            memory_bytes=facts.memory_bytes,
            state_detail=self._note_on_device(device),
            **on_device,
        )
        self.earlier_requests, self.earlier_errors = self.instance.requests, self.instance.errors
        self.latest = None
        spares.give_place_back()
        self.rate_at, self.rate_requests = time.monotonic(), 0
        version = self.instance.version
        self._beside(lambda: ModelVersion.objects.filter(pk=version.pk).update(last_load_seconds=seconds))
        if is_moved:
            self._beside(lambda: replace.finish(version, by=self.instance.by))
        return is_moved

    def alive(self, vitals: Vitals) -> None:
        self.latest = vitals
        try:
            self._write_figures(vitals)
        except Exception:  # no reason to end a model that serves
            logger.exception("the figures of instance %d were not written", self.instance.pk)

    def _write_figures(self, vitals: Vitals) -> None:
        now = time.monotonic()
        fields: dict[str, Any] = {}
        if now - self.rate_at >= RATE_EVERY_S:
            rate = round((vitals.requests - self.rate_requests) / (now - self.rate_at), 2)
            self.instance.rates = [*self.instance.rates, rate][-RATES_KEPT:]
            self.rate_at, self.rate_requests = now, vitals.requests
            fields["rates"] = self.instance.rates
        if (vitals == self.written and not fields) or now - self.written_at < WRITE_EVERY_S:
            return
        self.written_at = now
        fields |= self._totals() | {
            "queue_depth": vitals.queue,
            "p95_ms": vitals.p95_ms,
            "memory_bytes": vitals.memory_bytes,
        }
        if self.nvml is not None and self.instance.pid:
            fields |= self._device_memory(self.instance.device, self.instance.pid)
        if without_waiting(lambda: Instance.objects.filter(pk=self.instance.pk).update(**fields)) is not None:
            self.written = vitals

    def restarting(self, reason: str) -> bool:
        return self._move(_S.RESTARTING, [_S.READY, _S.LOADING], reason, state_detail=reason, **NO_PROCESS)

    def failed(self, reason: str) -> None:
        self._beside(lambda: replace.give_up(self.instance.version))
        if not self._move(_S.FAILED, [_S.LOADING, _S.READY, _S.RESTARTING], reason, state_detail=reason, **NO_PROCESS):
            self.stopped(Receipt())

    def stopped(self, receipt: Receipt) -> None:
        with_retries(self.instance.refresh_from_db)
        self._move(
            _S.STOPPED,
            [_S.UNLOADING],
            f"Unloaded in {receipt.seconds:.2f} s; {size_words(receipt.memory_freed_bytes)} came back.",
            receipt=instance_receipt(self.instance, receipt),
            **NO_PROCESS,
        )

    def interrupted(self) -> None:
        reason = "The portal was stopped; it is loaded again at the next start."
        if not self._move(_S.QUEUED, [_S.LOADING, _S.READY, _S.RESTARTING], reason, **NO_PROCESS):
            self.stopped(Receipt())

    # ---- writing

    def _rows(self, state: InstanceState) -> Any:
        return Instance.objects.filter(pk=self.instance.pk, state=state, owner_pid=os.getpid())

    def _move(self, after: InstanceState, before: list[InstanceState], reason: str, **fields: Any) -> bool:
        by = self.instance.by if after is _S.READY else ""
        fields = self._totals() | fields  # the last of this process: the next one counts from zero
        return bool(with_retries(lambda: move(self.instance, after, before=before, reason=reason, by=by, **fields)))

    def _beside(self, write: Callable[[], object]) -> None:
        """Make a change that is not essential: a locked database must not end a model that serves."""
        try:
            with_retries(write)
        except DatabaseError:
            logger.exception("instance %d goes on without a change that the database did not take", self.instance.pk)

    def _totals(self) -> dict[str, Any]:
        """Requests and errors of all processes of this instance since it was claimed."""
        if self.latest is None:
            return {}
        return {
            "requests": self.earlier_requests + self.latest.requests,
            "errors": self.earlier_errors + self.latest.errors,
        }

    def _device_memory(self, device: str, pid: int) -> Mapping[str, Any]:
        if self.nvml is None or not device.startswith("gpu"):
            return {}
        measured = device_memory(self.nvml, self.device, pid, self.used_before_bytes or 0)
        return {"device_memory_bytes": measured.bytes, "device_memory_estimated": measured.is_estimated}

    def _note_on_device(self, used: str) -> str:
        if self.gpus and used == "cpu":
            return f"{self.gpus[0]} is there, but the engine runs on the CPU."
        return ""
