"""Export: a version's file in another format, for download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inference.catalog import FORMATS
from inference.errors import BadInput, ValidationFailed
from models_app.models import Job, ModelVersion
from models_app.services.actor import Actor
from models_app.services.convert import request_conversion
from models_app.services.engine_file import kept_conversion
from models_app.services.find import check_ready

TARGETS = tuple(name for name, facts in FORMATS.items() if facts.download_ending)


@dataclass(frozen=True, slots=True)
class Exported:
    """A file and its name for the download."""

    path: Path
    file_name: str


def export(version: ModelVersion, target: str, *, by: Actor) -> Exported | Job:
    """The file in this format, or the job that makes it.

    Raises ValidationFailed for an unknown format, NotReady for a file that is not checked, BadInput with what
    stands in the way.
    """
    if target not in TARGETS:
        raise ValidationFailed.of("format", f"The format is one of {', '.join(TARGETS)}.")
    check_ready(version)
    if target == version.format:
        return Exported(version.path, version.file_name)
    source, wanted = FORMATS[version.format], FORMATS[target]
    if target not in source.targets:
        raise BadInput(f"The {source.word} file cannot be converted to {wanted.word}.")
    conversion = kept_conversion(version, target)
    if conversion is None:
        return request_conversion(version, target, by=by)
    if not conversion.is_made:
        raise BadInput(conversion.sentence)
    return Exported(conversion.path, f"{version.model.name}-v{version.number}{wanted.download_ending}")
