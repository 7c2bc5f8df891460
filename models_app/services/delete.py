"""Delete: rows go, and their files with them once that is certain. What is loaded is never deleted by accident."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from django.db import transaction
from django.db.models import QuerySet

from inference.errors import InUse
from inference.owner.output import remove_lines
from models_app.choices import LIVE
from models_app.models import Instance, ModelVersion, RegisteredModel
from models_app.services import files
from models_app.services.actor import Actor, actor_name
from models_app.services.move import record
from models_app.services.supervise import log_path
from models_app.services.unload import unload


def delete_version(version: ModelVersion, *, by: Actor, unload_first: bool = False) -> None:
    """Delete one version. Raises InUse while it is loaded, unless `unload_first`. Its number is never used again."""
    _delete(ModelVersion.objects.filter(pk=version.pk), None, by, unload_first)


def delete_model(model: RegisteredModel, *, by: Actor, unload_first: bool = False) -> None:
    """Delete a model with all its versions. Raises InUse while one is loaded, unless `unload_first`."""
    _delete(ModelVersion.objects.filter(model=model), model, by, unload_first)


def _delete(doomed: QuerySet[ModelVersion], model: RegisteredModel | None, by: Actor, unload_first: bool) -> None:
    doomed = doomed.select_related("model")
    if unload_first and (known := list(doomed)) and unload(known, by=by, reason="Unloaded to be deleted.") is None:
        raise InUse("A process of it has not ended yet. Try again in some seconds.")
    with transaction.atomic():
        if model is not None:  # uploads lock it to number their version: from here on none is added
            RegisteredModel.objects.select_for_update().filter(pk=model.pk).first()
        # Loads lock the version's row too: from here on none can begin.
        locked = list(doomed.select_for_update(of=("self",)))
        in_use = Instance.objects.filter(version__in=locked, state__in=LIVE).select_related("version__model")
        if names := sorted({str(instance.version) for instance in in_use}):
            raise InUse(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} in use. Unload first.")
        for version in locked:
            record(version, version.status, "deleted", reason="Deleted.", by=actor_name(by))
            transaction.on_commit(partial(_remove_files, version.file_key, log_path(version)))
            version.delete()
        if model is not None:
            model.delete()


def _remove_files(key: str, log: Path) -> None:
    files.remove(key)
    remove_lines(log)
