"""Check: whether a file is good, its inputs and outputs, whether the labels fit. Runs in the jobs cluster."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from inference.checking import Checked, check_file
from inference.errors import ValidationFailed
from inference.options import GraphEnds
from inference.postprocessing import check_labels
from inference.refusal import FileRejected, FileUnsafe
from models_app.choices import LONG_JOBS, FileStatus, JobKind, JobState, Remedy
from models_app.models import Job, ModelVersion
from models_app.services import choose, files, replace
from models_app.services.actor import Actor
from models_app.services.convert import forget_all_made
from models_app.services.database_retry import with_retries
from models_app.services.dispatch import request
from models_app.services.move import record
from models_app.services.outcome import Outcome, Progress


class _LabelsRejected(FileRejected):
    """The file is good; the labels do not fit it."""


def request_check(version: ModelVersion, *, by: Actor) -> Job:
    """Queue a check and drop what was made of the file before. The version is `checking` until the check ends.

    Call inside the transaction that sets this status.
    """
    forget_all_made(version)
    return request(JobKind.CHECK, version, by=by, detail="Waiting to be checked.")


def check(job: Job, progress: Progress) -> Outcome:
    """The job: check the file and store the result, a refusal too. Changes only a version that is `checking`."""
    version = job.version

    def note_candidates(ends: GraphEnds) -> None:
        version.candidates_json = ends

    try:
        if wrong := files.what_is_wrong(version.path, version.sha256):
            raise FileRejected(wrong)
        checked = check_file(
            version.path,
            workspace=job.workspace,
            is_trusted=bool(version.trusted_by),
            sandbox=settings.PORTAL_SANDBOX,
            progress=progress,
            on_candidates=note_candidates,
            **version.options.graph_ends,
        )
        with_retries(lambda: _accept(version, checked, job.by))
    except (FileRejected, ValidationFailed) as refusal:
        sentence, remedy = str(refusal), _remedy(refusal)
        with_retries(lambda: reject(version, sentence, remedy))
        return Outcome(sentence)
    with_retries(lambda: replace.begin(version, by=job.by))
    return Outcome("The file is ready to be loaded.")


def _accept(version: ModelVersion, checked: Checked, by: str) -> None:
    choose.check_fit(checked.format, version.engine, version.precision)
    labels, notes = _fitting_labels(version, checked)
    version.format = checked.format
    with transaction.atomic():
        is_ours = _finish(
            version,
            FileStatus.READY,
            " ".join(notes),
            format=checked.format,
            signature_json=checked.signature.as_json(),
            labels=labels,
            notes=notes,
        )
        if is_ours:
            ModelVersion.objects.filter(pk=version.pk).update(**choose.settle(version, by=by))


def _fitting_labels(version: ModelVersion, checked: Checked) -> tuple[list[str], list[str]]:
    """The labels, and the notes. Those inside the file are left out where they do not fit: a detector's name what is in
    its boxes, not its scores, and nobody could take them away. Raises _LabelsRejected for those that a person gave."""
    labels, notes = list(version.labels or checked.labels), list(checked.notes)
    sentence = check_labels(labels, checked.signature, version.postprocessing)
    if sentence is None:
        return labels, notes
    if version.labels:
        raise _LabelsRejected(sentence)
    return [], [f"The labels inside the file were left out. {sentence}", *notes]


def reject(version: ModelVersion, sentence: str, remedy: Remedy = Remedy.UPLOAD) -> None:
    """Reject a version that is `checking`; cancel what was to follow."""
    with transaction.atomic():
        _finish(version, FileStatus.REJECTED, sentence, replaces_older=False, instances_wanted=0, remedy=remedy)
        fail_where_rejected(version)


def fail_where_rejected(version: ModelVersion) -> None:
    """If the file was rejected, fail the long jobs that wait for it: no engine may open it."""
    rejected = ModelVersion.objects.filter(pk=version.pk, status=FileStatus.REJECTED).first()
    if rejected is not None:
        Job.objects.filter(version=rejected, kind__in=LONG_JOBS, state=JobState.QUEUED).update(
            state=JobState.FAILED,
            detail=f"The file was rejected: {rejected.status_detail}",
            finished_at=timezone.now(),
        )
        choose.give_up(rejected)


def _remedy(refusal: Exception) -> Remedy:
    if isinstance(refusal, _LabelsRejected):
        return Remedy.LABELS
    return Remedy.TRUST if isinstance(refusal, FileUnsafe) else Remedy.UPLOAD


def _finish(version: ModelVersion, status: FileStatus, detail: str, **fields: object) -> bool:
    with transaction.atomic():
        changed = ModelVersion.objects.filter(pk=version.pk, status=FileStatus.CHECKING).update(
            status=status, status_detail=detail, candidates_json=version.candidates_json, **fields
        )
        if changed:
            checked = "The file was checked. " if status == FileStatus.READY else ""
            record(version, FileStatus.CHECKING, status, reason=f"{checked}{detail}".strip())
    return bool(changed)
