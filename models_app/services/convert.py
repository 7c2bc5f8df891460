"""Convert: a version's file in other formats. Made once, kept beside the file, deleted with it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import transaction

from inference.catalog import FORMATS
from inference.conversion import CannotConvert, ConversionFailed, Converted
from inference.conversion import convert as convert_file
from inference.workspace import link_or_copy
from models_app.choices import JobKind
from models_app.models import Comparison, Conversion, Job, ModelVersion
from models_app.services import files
from models_app.services.actor import Actor
from models_app.services.checked_ends import lock_with_same_ends
from models_app.services.dispatch import request
from models_app.services.engine_file import kept_conversion
from models_app.services.outcome import JobFailed, Outcome, Progress


def request_conversion(version: ModelVersion, target: str, *, by: Actor) -> Job:
    """Queue the conversion to one format, unless it is on its way."""
    detail = f"Waiting to be converted to {FORMATS[target].word}."
    return request(JobKind.CONVERT, version, by=by, target=target, detail=detail)


def convert(job: Job, progress: Progress) -> Outcome:
    """The job: one format. That the file cannot be converted is an outcome, not a failure."""
    made = convert_version(job, [job.target], progress)[job.target]
    if isinstance(made, ConversionFailed):
        raise JobFailed(str(made))
    if made.is_made:
        sentence = f"The file is there as {FORMATS[job.target].word}."
        return Outcome(sentence, {"format": job.target, "size_bytes": made.size_bytes})
    return Outcome(made.sentence, {"format": job.target, "operation": made.operation, "error": made.sentence})


def convert_version(job: Job, targets: Sequence[str], progress: Progress) -> dict[str, Conversion | ConversionFailed]:
    """The file in each format, from before or made now. Raises JobFailed where the source has changed on disk."""
    known: dict[str, Conversion | ConversionFailed] = {}
    for target in targets:
        conversion = kept_conversion(job.version, target) or _take_from_twin(job.version, target)
        if conversion is not None:
            known[target] = conversion
    missing = [target for target in targets if target not in known]
    return known | _make(job, missing, progress) if missing else known


def _make(job: Job, targets: Sequence[str], progress: Progress) -> dict[str, Conversion | ConversionFailed]:
    version = job.version
    if wrong := files.what_is_wrong(version.path, version.sha256):
        raise JobFailed(wrong)
    try:
        answers = convert_file(
            version.path,
            version.format,
            targets,
            job.workspace,
            progress=progress,
            sandbox=settings.PORTAL_SANDBOX,
            is_trusted=bool(version.trusted_by),
            **version.options.graph_ends,
        )
        return {target: _store(version, target, answer) for target, answer in answers.items()}
    finally:
        job.workspace.remove()


def _store(
    version: ModelVersion, target: str, answer: Converted | CannotConvert | ConversionFailed
) -> Conversion | ConversionFailed:
    if isinstance(answer, ConversionFailed):
        return answer
    if isinstance(answer, CannotConvert):
        return _write(Conversion(version=version, format=target, sentence=answer.sentence, operation=answer.operation))
    size, sha256 = answer.path.stat().st_size, files.hash_of(answer.path)
    made = Conversion(version=version, format=target, names=dict(answer.names), size_bytes=size, sha256=sha256)
    part = _part(version, target)
    try:
        shutil.move(answer.path, part)  # maybe a copy of gigabytes: not while the database is locked
        return _write(made, part)
    except FileNotFoundError:
        raise JobFailed("The version was deleted meanwhile.") from None
    finally:
        part.unlink(missing_ok=True)


def _part(version: ModelVersion, target: str) -> Path:
    """A path on the target's file system, to be renamed from."""
    return version.directory / f"{target}.part"


def _write(conversion: Conversion, part: Path | None = None) -> Conversion:
    """Save the row and move the file into place. Raises JobFailed where the version has other ends by now."""
    with transaction.atomic():
        lock_with_same_ends(conversion.version)
        if part is not None:
            conversion.path.parent.mkdir(mode=0o700, exist_ok=True)
            files.move_into_place(part, conversion.path)
        Conversion.objects.filter(version=conversion.version_id, format=conversion.format).delete()
        conversion.save()
    return conversion


def _take_from_twin(version: ModelVersion, target: str) -> Conversion | None:
    """What was made of the very same file for another version: linked, not made again."""
    twins = Conversion.objects.filter(
        version__sha256=version.sha256, version__format=version.format, version__trusted_by="", format=target
    )
    for twin in twins.exclude(version=version).select_related("version"):
        if twin.version.options.graph_ends != version.options.graph_ends:
            continue
        if twin.is_made and not files.is_unchanged(twin.path, twin.sha256):  # a link would be damaged too
            continue
        copy = Conversion(
            version=version, format=target, sentence=twin.sentence, operation=twin.operation,
            names=twin.names, size_bytes=twin.size_bytes, sha256=twin.sha256,
        )  # fmt: skip
        if not twin.is_made:
            return _write(copy)
        part = _part(version, target)
        try:
            part.unlink(missing_ok=True)
            link_or_copy(twin.path, part)
            return _write(copy, part)
        except FileNotFoundError:  # deleted this very moment
            continue
        finally:
            part.unlink(missing_ok=True)
    return None


def forget_all_made(version: ModelVersion) -> None:
    """Drop all that was made of the file or measured, because the file is about to be checked again."""
    version.conversions.all().delete()
    Comparison.objects.filter(version=version).delete()
    for folder in (version.directory / "converted", files.compiled_directory(version)):
        transaction.on_commit(functools.partial(shutil.rmtree, folder, ignore_errors=True))
