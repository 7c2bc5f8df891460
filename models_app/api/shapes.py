"""The JSON objects of the REST API: MODEL, VERSION, JOB. One function for each; schema.py documents them."""

from __future__ import annotations

from typing import Any

from models_app.choices import ENDED, InstanceState, VersionState
from models_app.models import Comparison, Instance, Job, ModelVersion, Node, RegisteredModel
from models_app.services.nodes import NO_SLOTS
from models_app.services.places import Places, keeps_older, queue_places


def model_json(model: RegisteredModel, versions: list[ModelVersion], places: Places | None = None) -> dict[str, Any]:
    return {
        "name": model.name,
        "description": model.description,
        "owner": model.owner.get_username() if model.owner else None,
        "created_at": model.created_at.isoformat(),
        "versions": [version_json(version, places) for version in versions],
    }


def version_json(version: ModelVersion, places: Places | None = None) -> dict[str, Any]:
    """VERSION. Needs no query where `find.versions()` fetched it, except for the place of a queued one: to show
    several, pass `places`."""
    instances = version.shown_instances
    signature = version.signature
    state = version.state
    return {
        "model": version.model.name,
        "version": version.number,
        "format": version.format,
        "engine": version.engine,
        "engine_selected": version.engine_selected,
        "engine_reason": version.engine_reason,
        "size_bytes": version.size_bytes,
        "sha256": version.sha256,
        "created_at": version.created_at.isoformat(),
        "status": version.status,
        "status_detail": version.status_detail,
        "state": str(state),
        "state_detail": state_detail(version, state, instances, places),
        **signature.as_json(),
        "labels": version.labels,
        "preprocessing": version.preprocessing_json,
        "postprocessing": version.postprocessing_json,
        "options": version.options_json,
        "jobs": [job_json(job) for job in version.jobs.all()],
        "instances": [instance_json(i) for i in instances if i.state not in ENDED],
    }


def state_detail(
    version: ModelVersion, state: VersionState, instances: list[Instance], places: Places | None = None
) -> str:
    """The reason beside the state, as a sentence; empty where there is nothing to say."""
    if state is VersionState.QUEUED:
        queued = next(i for i in instances if i.state == InstanceState.QUEUED)
        if queued.node.slots == 0:
            return NO_SLOTS
        place = (queue_places() if places is None else places).get(queued.pk)
        if place is None:  # it is no longer queued
            return ""
        kept = "; what it replaces keeps its slot until it is ready" if keeps_older(version, place) else ""
        return f"place {place.number} of {place.total}{kept}"
    wanted = {VersionState.LOADED: "ready"}.get(state, str(state))
    details = [i.state_detail for i in instances if i.state == wanted and i.state_detail]
    return details[0] if details else ""


def instance_json(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.pk,
        "node": instance.node.name,
        "device": instance.device,
        "pid": instance.pid,
        "engine": instance.engine,
        "precision": instance.precision,
        "state": instance.state,
        "memory_bytes": instance.memory_bytes,
        "device_memory_bytes": instance.device_memory_bytes,
        "device_memory_estimated": instance.device_memory_estimated,
        "loaded_at": instance.loaded_at.isoformat() if instance.loaded_at else None,
        "load_seconds": instance.load_seconds,
        "requests": instance.requests,
        "errors": instance.errors,
        "sandbox": None if instance.state in {InstanceState.QUEUED, InstanceState.LOADING} else instance.sandbox,
    }


def job_json(job: Job) -> dict[str, Any]:
    return {
        "id": job.pk,
        "kind": job.kind,
        "state": job.state,
        "progress": job.progress,
        "detail": job.detail,
        "result": job.result,
    }


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "reference": comparison.reference,
        "measured_at": comparison.measured_at.isoformat(),
        "rows": comparison.rows,
        "recommended": comparison.recommended,
        "reason": comparison.reason,
    }


def node_json(node: Node, free: int) -> dict[str, Any]:
    keys = ("id", "kind", "memory_bytes", "free_bytes")
    return {
        "name": node.name,
        "slots": node.slots,
        "slots_free": free,
        "devices": [{key: device[key] for key in keys} for device in node.devices],
        "last_seen": node.last_seen.isoformat() if node.last_seen else None,
    }
