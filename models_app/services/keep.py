"""Keep: what a worker does with an instance it has claimed; stores what the Owner of its process reports."""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from inference.devices import (
    Device,
    Nvml,
    device_for,
    device_memory,
    list_devices,
    load_nvml,
    visible_devices_environment,
)
from inference.engines import SUFFIX_OF_FORMAT
from inference.errors import LoadFailed
from inference.owner import Owner
from inference.processes import ProcessIdentity, identify
from inference.reporting import Ready, Receipt, Vitals
from inference.runner.config import DEFAULT_QUEUE_LIMIT, RunnerConfig
from inference.started_runner import Assignment
from inference.workspace import Workspace
from models_app.choices import PENDING_JOBS, InstanceState
from models_app.models import Instance, ModelVersion
from models_app.services import files, replace
from models_app.services.convert import request_conversion
from models_app.services.database_retry import with_retries, without_waiting
from models_app.services.engine_file import EngineFile, file_for, target_for
from models_app.services.move import move
from models_app.services.spares import spares

logger = logging.getLogger("portal.keep")

LOOK_EVERY_S = 0.5
WRITE_EVERY_S = 2.0
RATE_EVERY_S = 15.0
RATES_KEPT = 20
_S = InstanceState


@dataclass
class Keeper:
    """Claims one instance and keeps it loaded; the Reporter (inference/reporting.py) of its Owner."""

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
    heard: Vitals | None = None
    """The last figures of the process that is ready."""

    @classmethod
    def claim(cls, instance_pk: int, generation: int) -> Keeper | None:
        """Make this worker the owner; None where the delivery is stale or the load was cancelled."""
        instance = Instance.objects.select_related("version__model", "node").filter(pk=instance_pk).first()
        if instance is None:
            return None
        me = identify(os.getpid())
        assert me is not None
        is_ours = move(
            instance,
            _S.LOADING,
            before=[_S.QUEUED],
            generation=generation,
            by=instance.by,
            owner_pid=me.pid,
            owner_started_at=me.started_at,
            boot_id=me.boot_id,
            pid=None,
            pid_started_at=None,
            control=str(_control_path(instance)),
        )
        if not is_ours:
            return None
        nvml = load_nvml()
        devices = list_devices(nvml)
        device = device_for(instance.version.engine_selected, devices)
        gpus = [each.id for each in devices if each.kind == "gpu"]
        return cls(instance, device, nvml, nvml.used_bytes(device) if nvml else None, gpus)

    def keep(self, stop_descriptor: int | None) -> None:
        """Blocks until the instance is unloaded, failed, or the cluster stops."""
        version = self.instance.version
        try:
            file = self._await_file(version, stop_descriptor)
            if file is not None:
                assignment = self._assignment(version, file)
                spare = spares.take(assignment.config, self.device)
                Owner(assignment, self, stop_descriptor=stop_descriptor, spare=spare).run()
        except LoadFailed as refusal:
            self.failed(refusal.message)
        except OSError as error:
            logger.exception("the owner of instance %d failed", self.instance.pk)
            is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            self.failed(
                "The disk is full, so the model could not be loaded. Free some space and load it again."
                if is_full
                else f"The worker that was to keep it loaded was refused by the system: {error.strerror}."
            )
        except Exception:  # a bug of ours must not be tried again and again
            logger.exception("the owner of instance %d failed", self.instance.pk)
            self.failed("The worker that was to keep it loaded met an error of its own, which was logged.")
        finally:
            spares.give_place_back()

    def _await_file(self, version: ModelVersion, stop_descriptor: int | None) -> EngineFile | None:
        """The file that the engine opens, once converted; None where the load is cancelled or the cluster stops.

        Raises LoadFailed where it cannot be converted.
        """
        engine = version.engine_selected
        if (file := with_retries(lambda: file_for(version, engine))) is not None:
            return file
        job = with_retries(lambda: request_conversion(version, target_for(version, engine), by=self.instance.by))
        with_retries(lambda: self._rows(_S.LOADING).update(state_detail=f"It is converted for {engine} first."))
        while True:
            is_over = job.state not in PENDING_JOBS  # read before the file, which is there before the job ends
            if (file := with_retries(lambda: file_for(version, engine))) is not None:
                return file
            if is_over:
                raise LoadFailed(f"It could not be converted for {engine}: {job.detail}")
            if _stop_comes_within(stop_descriptor, LOOK_EVERY_S):
                self.interrupted()
                return None
            if not self.is_wanted():
                self.stopped(Receipt())
                return None
            with_retries(job.refresh_from_db)

    def _assignment(self, version: ModelVersion, file: EngineFile) -> Assignment:
        options = version.options
        config = RunnerConfig(
            model_path="",  # the owner puts the file in the runner's own folder
            format=file.format,
            names=dict(file.names),
            engine=version.engine_selected,
            preprocessing=version.preprocessing_json,
            signature=version.signature_json,
            precision=version.precision,
            threads=options.threads,
            max_batch=options.max_batch,
            max_wait_ms=float(options.max_wait_ms or 0),
            queue_limit=options.queue_limit or DEFAULT_QUEUE_LIMIT,
            memory_limit_bytes=options.memory_limit_bytes,
            predict_timeout_s=float(options.predict_timeout_s or settings.PORTAL_PREDICT_TIMEOUT_S),
            **options.graph_ends,
            is_trusted=bool(version.trusted_by),
            sandbox=settings.PORTAL_SANDBOX,
        )
        return Assignment(
            name=f"i{self.instance.pk}",
            source=file.path,
            file_name=f"model{SUFFIX_OF_FORMAT[file.format]}",
            config=config,
            workspace=Workspace(settings.PORTAL_RUN_DIR / f"instance-{self.instance.pk}"),
            sockets=settings.PORTAL_SOCKETS_DIR,
            log_path=log_path(version),
            environment=visible_devices_environment(self.device),
            cache=files.compiled_directory(version),
        )

    # ---- Reporter: what the owner sees

    def is_wanted(self) -> bool:
        try:
            state = Instance.objects.filter(pk=self.instance.pk).values_list("state", flat=True).first()
        except DatabaseError:
            connection.close()
            return True
        return state in {_S.LOADING, _S.READY, _S.RESTARTING}

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
        self.heard = None
        spares.give_place_back()
        self.rate_at, self.rate_requests = time.monotonic(), 0
        version = self.instance.version
        self._beside(lambda: ModelVersion.objects.filter(pk=version.pk).update(last_load_seconds=seconds))
        if is_moved:
            self._beside(lambda: replace.finish(version, by=self.instance.by))
        return is_moved

    def alive(self, vitals: Vitals) -> None:
        self.heard = vitals
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
        return self._move(_S.RESTARTING, [_S.READY, _S.LOADING], reason, state_detail=reason, pid=None, socket="")

    def failed(self, reason: str) -> None:
        self._beside(lambda: replace.give_up(self.instance.version))
        if not self._move(
            _S.FAILED, [_S.LOADING, _S.READY, _S.RESTARTING], reason, state_detail=reason, pid=None, socket="",
            memory_bytes=None, device_memory_bytes=None,
        ):  # fmt: skip
            self.stopped(Receipt())

    def stopped(self, receipt: Receipt) -> None:
        with_retries(self.instance.refresh_from_db)
        facts = asdict(receipt) | {
            "pids": list(receipt.pids),
            "device_memory_freed_bytes": self._device_memory_freed(),
        }
        megabytes = receipt.memory_freed_bytes // 10**6
        self._move(
            _S.STOPPED,
            [_S.UNLOADING],
            f"Unloaded in {receipt.seconds:.2f} s; {megabytes} MB came back.",
            receipt=facts,
            pid=None,
            socket="",
            memory_bytes=None,
            device_memory_bytes=None,
        )

    def interrupted(self) -> None:
        reason = "The portal was stopped; it is loaded again at the next start."
        if not self._move(_S.QUEUED, [_S.LOADING, _S.READY, _S.RESTARTING], reason, pid=None, socket=""):
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
        if self.heard is None:
            return {}
        return {
            "requests": self.earlier_requests + self.heard.requests,
            "errors": self.earlier_errors + self.heard.errors,
        }

    def _device_memory(self, device: str, pid: int) -> Mapping[str, Any]:
        if self.nvml is None or not device.startswith("gpu"):
            return {}
        measured = device_memory(self.nvml, self.device, pid, self.used_before_bytes or 0)
        return {"device_memory_bytes": measured.bytes, "device_memory_estimated": measured.is_estimated}

    def _device_memory_freed(self) -> int | None:
        return self.instance.device_memory_bytes if self.instance.device.startswith("gpu") else None

    def _note_on_device(self, used: str) -> str:
        if self.gpus and used == "cpu":
            return f"{self.gpus[0]} is there, but the engine runs on the CPU."
        return ""


def log_path(version: ModelVersion) -> Path:
    """Where the last output lines of a version's process are kept."""
    return Path(settings.PORTAL_LOGS_DIR) / f"version-{version.pk}.log"


def _stop_comes_within(stop_descriptor: int | None, seconds: float) -> bool:
    """Whether the cluster stops within this time."""
    if stop_descriptor is None:
        time.sleep(seconds)
        return False
    return bool(select.select([stop_descriptor], [], [], seconds)[0])


def _control_path(instance: Instance) -> Path:
    return Path(settings.PORTAL_SOCKETS_DIR) / f"i{instance.pk}.ctl"
