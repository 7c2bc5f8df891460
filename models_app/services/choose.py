"""Choose: which engine `auto` means for a version: first the reference, after measuring the fastest that agrees."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from inference.catalog import ENGINES, FORMATS
from inference.comparison.measurement import FULL
from inference.errors import BadInput, ValidationFailed
from models_app.choices import JobKind
from models_app.models import Comparison, Job, ModelVersion
from models_app.services.actor import Actor, actor_name
from models_app.services.checked_ends import lock_with_same_ends
from models_app.services.compare import compare_version
from models_app.services.convert import request_conversion
from models_app.services.database_retry import with_retries
from models_app.services.dispatch import request
from models_app.services.engine_file import target_for
from models_app.services.find import check_ready, lock
from models_app.services.move import record
from models_app.services.outcome import Outcome, Progress

AUTO = "auto"
DEFAULT_PRECISION = "f32"
_ASKED_FOR = "asked for"
_REFERENCE = "the engine that made the file"
_UNTIL_MEASURED = f"{_REFERENCE}; the others are measured"
_NOT_MEASURED = f"{_REFERENCE}; the others could not be measured"


def settle(version: ModelVersion, *, by: Actor) -> dict[str, str]:
    """Decide which engine is used from now on: returns the fields to save, queues the jobs. Call inside a transaction.

    An engine that a person chose is used, and its file is made. For `auto` it is the reference until the others are
    measured, or the first engine with the precision asked for. Raises ValidationFailed where none of those can run the
    file.
    """
    if version.engine != AUTO:
        _have_file_made(version, version.engine, by)
        return {"engine_selected": version.engine, "engine_reason": _ASKED_FOR}
    known = Comparison.objects.filter(version=version).first()
    fields = _chosen(version, known) if known is not None else _until_measured(version)
    engine = fields["engine_selected"]
    if version.precision not in ENGINES[engine].precisions:
        raise ValidationFailed.of(
            "options", f"No engine that can run this file computes in {version.precision}. Leave the precision out."
        )
    if known is None:
        _have_file_made(version, engine, by)
        if _has_others(version):
            request_choice(version, by=by)
    return fields


def _have_file_made(version: ModelVersion, engine: str, by: Actor) -> None:
    target = target_for(version, engine)
    if target and not version.conversions.filter(format=target).exists():
        request_conversion(version, target, by=by)


def _has_others(version: ModelVersion) -> bool:
    return len(FORMATS[version.format].engines) > 1


def _until_measured(version: ModelVersion) -> dict[str, str]:
    reference = FORMATS[version.format].reference
    if version.precision in ENGINES[reference].precisions:
        reason = _UNTIL_MEASURED if _has_others(version) else _REFERENCE
        return {"engine_selected": reference, "engine_reason": reason}
    return _for_precision(version) or {"engine_selected": reference, "engine_reason": _REFERENCE}


def _for_precision(version: ModelVersion, failed: Collection[str] = ()) -> dict[str, str] | None:
    """The first engine that computes in the precision asked for; None where the file cannot run in any of those."""
    not_made = {conversion.format for conversion in version.conversions.all() if not conversion.is_made}
    for engine in FORMATS[version.format].engines:
        is_able = version.precision in ENGINES[engine].precisions and engine not in failed
        if is_able and target_for(version, engine) not in not_made:
            reason = f"It computes in {version.precision}, which was asked for."
            return {"engine_selected": engine, "engine_reason": reason}
    return None


def request_choice(version: ModelVersion, *, by: Actor) -> Job:
    """Queue the brief measurement whose winner `auto` takes, unless it is on its way."""
    return request(JobKind.CHOOSE, version, by=by, detail="Waiting to measure the engines.")


def use_engine(version: ModelVersion, engine: str, precision: str, *, by: Actor) -> bool:
    """Run it in this engine (or `auto`) at this precision from the next load on; False where it was so already.

    Allowed while it is loaded: what runs keeps its own engine. Raises NotReady, ValidationFailed that names the field,
    BadInput where the file cannot be converted for the engine.
    """
    with transaction.atomic():
        locked = lock(version)
        check_ready(locked)
        _check_able(locked, engine, precision)
        if (locked.engine, locked.precision) == (engine, precision):
            return False
        others = {name: value for name, value in locked.options_json.items() if name != "precision"}
        locked.engine = engine
        locked.options_json = others if precision == DEFAULT_PRECISION else {**others, "precision": precision}
        locked.save(update_fields=["engine", "options_json"])
        ModelVersion.objects.filter(pk=locked.pk).update(**settle(locked, by=by))
        reason, facts = f"Changed: {engine} {precision} from the next load.", {"changed": ["engine", "precision"]}
        record(locked, locked.status, locked.status, reason=reason, facts=facts, by=actor_name(by))
    return True


def _check_able(version: ModelVersion, engine: str, precision: str) -> None:
    check_fit(version.format, engine, precision)
    if engine == AUTO or not (target := target_for(version, engine)):
        return
    conversion = version.conversions.filter(format=target).first()
    if conversion is not None and not conversion.is_made:
        raise BadInput(f"{version} cannot run in {engine}: {conversion.sentence}")


def check_fit(file_format: str, engine: str, precision: str) -> None:
    """Raises ValidationFailed where a file of this format does not run in the engine, or not at the precision."""
    word, engines = FORMATS[file_format].word, FORMATS[file_format].engines
    if engine not in (AUTO, *engines):
        raise ValidationFailed.of(
            "engine", f"The {word} file runs in {', '.join(engines)}, not in {engine}. Choose one of these."
        )
    able = [name for name in engines if engine in (AUTO, name) and precision in ENGINES[name].precisions]
    if not able:
        who = f"No engine for {word} files computes" if engine == AUTO else f"{engine} does not compute"
        raise ValidationFailed.of("options", f"{who} in {precision}. Leave the precision out.")


def choose(job: Job, progress: Progress) -> Outcome:
    """The job: measure briefly, use the winner from the next load on. Never touches what runs."""
    comparison = compare_version(job, progress)
    # By nobody: it is the portal's decision, whoever uploaded the file.
    fields = with_retries(lambda: _take_winner(job, comparison, by=""))
    return Outcome(fields["engine_reason"], {"engine": fields["engine_selected"]})


def give_up(version: ModelVersion) -> None:
    """The measurement has failed: the reference stays in use."""
    ModelVersion.objects.filter(pk=version.pk, engine_reason=_UNTIL_MEASURED).update(engine_reason=_NOT_MEASURED)


def compare_fully(job: Job, progress: Progress) -> Outcome:
    """The job: all engines at all precisions. Where the choice is left to the portal, it follows what was measured."""
    comparison = compare_version(job, progress, FULL, all_precisions=True)
    with_retries(lambda: _take_winner(job, comparison, by=job.by))
    return Outcome(comparison.reason, {"recommended": comparison.recommended})


def _take_winner(job: Job, comparison: Comparison, *, by: str) -> dict[str, str]:
    """What `auto` means after this comparison; saved, with a line of history, where nobody chose an engine."""
    with transaction.atomic():
        version = lock_with_same_ends(job.version)
        fields = _chosen(version, comparison)
        if version.engine == AUTO:
            ModelVersion.objects.filter(pk=version.pk).update(**fields)
            if fields["engine_selected"] != version.engine_selected:
                reason = f"Changed: {fields['engine_selected']} from the next load. {fields['engine_reason']}"
                record(version, version.status, version.status, reason=reason, by=by)
    return fields


def _chosen(version: ModelVersion, comparison: Comparison) -> dict[str, str]:
    """The winner; where a precision is asked for that it does not compute in, the first engine that does."""
    winner = {"engine_selected": comparison.recommended, "engine_reason": comparison.reason}
    if version.precision in ENGINES[comparison.recommended].precisions:
        return winner
    failed = {row["engine"] for row in comparison.rows if row["error"] and row["precision"] == "f32"}
    return _for_precision(version, failed) or winner
