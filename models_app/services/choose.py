"""Choose: which engine `auto` means for a version. The reference at first, the fastest that agrees once it is known."""

from __future__ import annotations

from django.db import transaction

from inference.engines import DIRECT_ENGINES_BY_FORMAT, ENGINES_BY_FORMAT, PRECISIONS_BY_ENGINE
from models_app.choices import JobKind
from models_app.models import Comparison, Job, ModelVersion
from models_app.services.actor import Actor
from models_app.services.compare import compare_version
from models_app.services.convert import request_conversion
from models_app.services.engine_file import target_for
from models_app.services.hand_out import request
from models_app.services.outcome import Outcome, Progress

AUTO = "auto"
_ASKED_FOR = "asked for"
_REFERENCE = "the engine that made the file"


def settle(version: ModelVersion, *, by: Actor) -> dict[str, str]:
    """What is used from now on, as fields to be saved, and the jobs that this takes. Call inside a transaction.

    A person's engine wins, and its file is made; for `auto` the reference serves until the others are measured.
    """
    if version.engine != AUTO:
        if target := target_for(version, version.engine):
            request_conversion(version, target, by=by)
        return {"engine_selected": version.engine, "engine_reason": _ASKED_FOR}
    known = Comparison.objects.filter(version=version).first()
    if known is not None:
        return _chosen(version, known)
    reference = DIRECT_ENGINES_BY_FORMAT[version.format][0]
    if len(ENGINES_BY_FORMAT[version.format]) == 1:
        return {"engine_selected": reference, "engine_reason": _REFERENCE}
    request(JobKind.CHOOSE, version, by=by, detail="Waiting to measure the engines.")
    return {"engine_selected": reference, "engine_reason": f"{_REFERENCE}; the others are measured"}


def choose(job: Job, progress: Progress) -> Outcome:
    """The job: measure briefly, use the winner from the next load on. Never touches what runs."""
    comparison = compare_version(job.version, progress)
    with transaction.atomic():
        version = ModelVersion.objects.select_for_update().get(pk=job.version_id)
        fields = _chosen(version, comparison)
        if version.engine == AUTO:
            ModelVersion.objects.filter(pk=version.pk).update(**fields)
    return Outcome(fields["engine_reason"], {"engine": fields["engine_selected"]})


def _chosen(version: ModelVersion, comparison: Comparison) -> dict[str, str]:
    """The winner; where a precision is asked for that it does not compute in, the first engine that does."""
    engine, reason = comparison.recommended, comparison.reason
    if version.precision not in PRECISIONS_BY_ENGINE[engine]:
        failed = {row["engine"] for row in comparison.rows if row["error"] and row["precision"] == "f32"}
        able = [
            other
            for other in ENGINES_BY_FORMAT[version.format]
            if version.precision in PRECISIONS_BY_ENGINE[other] and other not in failed
        ]
        if able:
            engine, reason = able[0], f"It computes in {version.precision}, which was asked for."
    return {"engine_selected": engine, "engine_reason": reason}
