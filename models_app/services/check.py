"""Check: is a file what it says, what goes in and comes out, do the labels fit. Runs in the jobs cluster."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import transaction

from inference.checking import Checked, FileRefused, check_file
from inference.engines import DIRECT_ENGINES_BY_FORMAT
from inference.errors import ValidationFailed
from inference.postprocessing import check_labels
from inference.workspace import Workspace
from models_app import queue
from models_app.choices import FileStatus, JobKind
from models_app.models import Job, ModelVersion
from models_app.services import files
from models_app.services.actor import Actor, actor_name
from models_app.services.move import record


def request_check(version: ModelVersion, *, by: Actor) -> Job:
    """Queue a check; the version is `checking` until it ends. Call inside the transaction that made the version so."""
    job = Job.objects.create(kind=JobKind.CHECK, version=version, by=actor_name(by), detail="Waiting to be checked.")
    transaction.on_commit(lambda: queue.run_job(job), robust=True)  # a broker that is away: jobs.hand_out_lost
    return job


def check(version: ModelVersion, progress: Callable[[int, str], None]) -> str:
    """Check the file and write the outcome; returns it as a sentence. Does nothing twice."""
    try:
        if not files.is_unchanged(version):
            raise FileRefused("The file on disk is not the one that was uploaded. Upload it again.")
        checked = check_file(
            version.path,
            workspace=Workspace(settings.PORTAL_RUN_DIR / f"check-{version.pk}"),
            is_trusted=bool(version.trusted_by),
            sandbox=settings.PORTAL_SANDBOX,
            progress=progress,
            graph_inputs=version.options.graph_inputs or (),
            graph_outputs=version.options.graph_outputs or (),
        )
        _accept(version, checked)
    except (FileRefused, ValidationFailed) as refusal:
        _finish(version, FileStatus.REJECTED, str(refusal))
        return str(refusal)
    return "The file is ready to be loaded."


def _accept(version: ModelVersion, checked: Checked) -> None:
    engines = DIRECT_ENGINES_BY_FORMAT[checked.format]
    engine = version.engine if version.engine != "auto" else engines[0]
    if engine not in engines:
        raise FileRefused(
            f"A {checked.format} file runs in {', '.join(engines)}, not in {engine}. Choose one of these."
        )
    labels = list(version.labels) or list(checked.labels)
    if sentence := check_labels(labels, checked.signature, version.postprocessing):
        raise FileRefused(sentence)
    reason = "asked for" if version.engine != "auto" else "the engine that made the file"
    _finish(
        version,
        FileStatus.READY,
        " ".join(checked.notes),
        format=checked.format,
        signature_json=checked.signature.as_json(),
        labels=labels,
        engine_selected=engine,
        engine_reason=reason,
    )


def _finish(version: ModelVersion, status: FileStatus, detail: str, **fields: object) -> None:
    with transaction.atomic():
        changed = ModelVersion.objects.filter(pk=version.pk, status=FileStatus.CHECKING).update(
            status=status, status_detail=detail, **fields
        )
        if changed:
            checked = "The file was checked. " if status == FileStatus.READY else ""
            record(version, FileStatus.CHECKING, status, reason=f"{checked}{detail}".strip())
