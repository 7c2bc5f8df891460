"""`manage.py import_model NAME PATH`: register a model file that is already on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error, connection

from inference.catalog import ENGINES
from inference.errors import PortalError, ValidationFailed
from inference.preprocessing import PRESETS
from models_app import schema
from models_app.models import ModelVersion, RegisteredModel
from models_app.outage import without_database
from models_app.services import files, upload

LABELS_BYTES = 2**20


class Command(BaseCommand):
    help = "Register a model file that is on this machine, or a new version where the name exists. The file is copied."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the model's name in addresses: letters, digits, hyphens and underscores")
        parser.add_argument("path", type=Path, help="one file; what is a folder comes as .zip, .tar or .tar.gz")
        parser.add_argument("--labels", type=Path, metavar="FILE", help="one label a line, or a JSON list")
        parser.add_argument("--preset", choices=sorted(PRESETS), help="how pictures become numbers")
        parser.add_argument("--description", metavar="TEXT", help="of a new model")
        parser.add_argument("--engine", choices=["auto", *ENGINES], default="auto")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            version = _import(options)
        except PortalError as error:
            self.stderr.write(error.message)
            raise SystemExit(1) from None
        except Error as error:
            self.stderr.write(without_database(error))
            raise SystemExit(1) from None
        self.stdout.write(f"Registered {version.model.name}, version {version.number}: {version.size_bytes} bytes.")
        self.stdout.write(_what_is_next(version.model.name))


def _import(options: dict[str, Any]) -> ModelVersion:
    """Copy and register. Raises a PortalError with a sentence for everything that the caller can put right, or
    ImproperlyConfigured."""
    files.check_owner()
    name = upload.check_name(options["name"])
    if RegisteredModel._meta.db_table not in connection.introspection.table_names():
        raise ValidationFailed("There is no database yet. Start the portal once with `make run`, then import.")
    schema.refuse_newer()
    is_known = RegisteredModel.objects.filter(name=name).exists()
    if is_known and options["description"]:
        raise ValidationFailed(f"{name} exists and keeps its description. Leave --description out to add a version.")
    use = upload.VersionSettings.from_fields(
        {
            "labels": _read_labels(options["labels"]) if options["labels"] else None,
            "preprocessing": {"preset": options["preset"]} if options["preset"] else None,
            "engine": options["engine"],
        }
    )
    description = upload.check_description(options["description"] or "")
    received = _receive(options["path"])
    try:
        if is_known:
            return upload.create_version(name, received, use, by=None)
        return upload.create_model(name, received, use, by=None, description=description)
    except OSError as error:
        raise ValidationFailed(f"{received.name} cannot be kept: {error.strerror}.") from None
    finally:
        received.discard()


def _receive(path: Path) -> files.ReceivedFile:
    try:
        if path.is_dir():
            raise ValidationFailed(files.how_to_pack(path))
        if not path.is_file():
            raise ValidationFailed(f"There is no file {path.name} at that place. Look at the path again.")
        return files.receive_copy(path, path.name)
    except OSError as error:
        raise ValidationFailed(f"{path.name} cannot be copied: {error.strerror}.") from None


def _read_labels(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LABELS_BYTES + 1)
    except OSError as error:
        raise ValidationFailed(f"The labels {path.name} cannot be read: {error.strerror}.") from None
    if len(data) > LABELS_BYTES:
        raise ValidationFailed(f"The labels {path.name} hold more than {LABELS_BYTES} bytes. Is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationFailed(f"The labels {path.name} are not text in UTF-8. Save them as UTF-8.") from None


def _what_is_next(name: str) -> str:
    if not _is_served():
        return f"The portal does not run. {name} is checked when it is started (`make run`), then it can be loaded."
    return f"{name} is being checked now. In the admin it can be loaded as soon as it says ready."


def _is_served() -> bool:
    """Whether `serve` holds its lock on the data directory. Read from /proc: trying it could make a start fail."""
    try:
        inode = str((settings.PORTAL_DATA_DIR / "serve.lock").stat().st_ino)
        locks = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]
    except OSError:
        return False
    return any("FLOCK" in lock and any(field.endswith(f":{inode}") for field in lock) for lock in locks)
