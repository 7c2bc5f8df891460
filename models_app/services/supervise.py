"""Supervise: claim a queued instance and keep it loaded, with an Owner in this worker (inference/owner/)."""

from __future__ import annotations

import logging
import os
import select
import time
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError

from inference.catalog import FORMATS
from inference.errors import LoadFailed, is_disk_full
from inference.host.devices import device_for, list_devices, load_nvml, visible_devices_environment
from inference.host.processes import identify
from inference.owner import Owner
from inference.owner.reporting import Receipt
from inference.owner.started_runner import Assignment
from inference.runner.config import DEFAULT_QUEUE_LIMIT, RunnerConfig
from inference.workspace import Workspace
from models_app.choices import PENDING_JOBS, InstanceState
from models_app.models import Instance, ModelVersion
from models_app.outage import one_line
from models_app.services import files
from models_app.services.convert import request_conversion
from models_app.services.database_retry import with_retries
from models_app.services.engine_file import EngineFile, file_for, target_for
from models_app.services.instance_reporter import InstanceReporter
from models_app.services.move import move
from models_app.services.spares import spares

logger = logging.getLogger("portal.supervise")

LOOK_EVERY_S = 0.5


def claim(instance_pk: int, generation: int) -> InstanceReporter | None:
    """Make this worker the instance's owner; None where the delivery is stale or the load was cancelled."""
    instance = Instance.objects.select_related("version__model", "node").filter(pk=instance_pk).first()
    if instance is None:
        return None
    me = identify(os.getpid())
    assert me is not None
    is_ours = move(
        instance,
        InstanceState.LOADING,
        before=[InstanceState.QUEUED],
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
    return InstanceReporter(instance, device, nvml, nvml.used_bytes(device) if nvml else None, gpus)


def supervise(reporter: InstanceReporter, stop_descriptor: int | None) -> None:
    """Blocks until the claimed instance is unloaded, failed, or the cluster stops.

    Where the database stays unavailable this process ends, and the load is taken up again.
    """
    pk = reporter.instance.pk
    try:
        file = _await_file(reporter, stop_descriptor)
        if file is not None:
            assignment = _assignment(reporter, file)
            spare = spares.take(assignment.config, reporter.device)
            Owner(assignment, reporter, stop_descriptor=stop_descriptor, spare=spare).run()
    except LoadFailed as refusal:
        reporter.failed(refusal.message)
    except OSError as error:
        logger.exception("the owner of instance %d failed", pk)
        reporter.failed(
            "The disk is full, so the model could not be loaded. Free some space and load it again."
            if is_disk_full(error)
            else f"The worker that was to keep it loaded was refused by the system: {error.strerror}."
        )
    except DatabaseError as error:
        logger.error("the database does not take what became of instance %d; its worker ends: %s", pk, one_line(error))
        raise SystemExit(1) from None
    except Exception:  # a bug of ours must not be tried again and again
        logger.exception("the owner of instance %d failed", pk)
        reporter.failed("The worker that was to keep it loaded met an error of its own, which was logged.")
    finally:
        spares.give_place_back()


def _await_file(reporter: InstanceReporter, stop_descriptor: int | None) -> EngineFile | None:
    """The file that the engine opens, once converted; None where the load is cancelled or the cluster stops.

    Raises LoadFailed where it cannot be converted.
    """
    version = reporter.instance.version
    engine = version.engine_selected
    if (file := with_retries(lambda: file_for(version, engine))) is not None:
        return file
    job = with_retries(lambda: request_conversion(version, target_for(version, engine), by=reporter.instance.by))
    reporter.waiting(f"It is converted for {engine} first.")
    while True:
        is_over = job.state not in PENDING_JOBS  # read before the file, which is there before the job ends
        if (file := with_retries(lambda: file_for(version, engine))) is not None:
            return file
        if is_over:
            raise LoadFailed(f"It could not be converted for {engine}: {job.detail}")
        if _stop_comes_within(stop_descriptor, LOOK_EVERY_S):
            reporter.interrupted()
            return None
        if not reporter.is_wanted():
            reporter.stopped(Receipt())
            return None
        with_retries(job.refresh_from_db)


def _assignment(reporter: InstanceReporter, file: EngineFile) -> Assignment:
    instance, version = reporter.instance, reporter.instance.version
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
        name=f"i{instance.pk}",
        source=file.path,
        file_name=f"model{FORMATS[file.format].suffix}",
        config=config,
        workspace=Workspace(settings.PORTAL_RUN_DIR / f"instance-{instance.pk}"),
        sockets=settings.PORTAL_SOCKETS_DIR,
        log_path=log_path(version),
        environment=visible_devices_environment(reporter.device),
        cache=files.compiled_directory(version),
    )


def log_path(version: ModelVersion) -> Path:
    """Where the last output lines of a version's process are kept."""
    return Path(settings.PORTAL_LOGS_DIR) / f"version-{version.pk}.log"


def _control_path(instance: Instance) -> Path:
    return Path(settings.PORTAL_SOCKETS_DIR) / f"i{instance.pk}.ctl"


def _stop_comes_within(stop_descriptor: int | None, seconds: float) -> bool:
    """Whether the cluster stops within this time."""
    if stop_descriptor is None:
        time.sleep(seconds)
        return False
    return bool(select.select([stop_descriptor], [], [], seconds)[0])
