"""Which file an engine opens: the uploaded one, or one that was made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.catalog import ENGINES, FORMATS
from inference.errors import LoadFailed
from models_app.models import Conversion, ModelVersion
from models_app.services import files


@dataclass(frozen=True, slots=True)
class EngineFile:
    """`names`: those that a conversion had to change, the converted file's → the original's."""

    path: Path
    format: str
    names: Mapping[str, str] = field(default_factory=dict)


def target_for(version: ModelVersion, engine: str) -> str:
    """The format that the file has to be converted to for this engine; empty where it opens the file itself."""
    return "" if engine in FORMATS[version.format].direct_engines else ENGINES[engine].target


def file_for(version: ModelVersion, engine: str) -> EngineFile | None:
    """The file that the engine opens, None while it is not made.

    Its hash is compared first. Raises LoadFailed where the upload has changed on disk, or cannot be converted.
    """
    target = target_for(version, engine)
    if not target:
        if wrong := files.what_is_wrong(version.path, version.sha256):
            raise LoadFailed(wrong)
        return EngineFile(version.path, version.format)
    conversion = kept_conversion(version, target)
    if conversion is None:
        return None
    check_possible(conversion, engine)
    return EngineFile(conversion.path, target, conversion.names)


def kept_conversion(version: ModelVersion, target: str) -> Conversion | None:
    """The kept result of this conversion; None where it has to be made, also because its file has changed on disk."""
    conversion = version.conversions.filter(format=target).first()
    if conversion is None or not conversion.is_made or files.is_unchanged(conversion.path, conversion.sha256):
        return conversion
    conversion.delete()
    return None


def check_possible(conversion: Conversion, engine: str) -> None:
    """Raises LoadFailed where the file cannot be converted to this format."""
    if not conversion.is_made:
        raise LoadFailed(f"It cannot run in {engine}: {conversion.sentence}")
