"""Replace: a version that was just uploaded takes the place of what served before, once it is ready."""

from __future__ import annotations

import time

from inference.errors import ValidationFailed
from models_app.choices import FileStatus, VersionState
from models_app.models import ModelVersion
from models_app.services import find
from models_app.services.actor import Actor
from models_app.services.load import load
from models_app.services.unload import unload
from models_app.services.waiting import wait_until


def load_instead(version: ModelVersion, *, by: Actor, deadline: float) -> ModelVersion:
    """Wait for the check, load, and once the new one is ready unload the older ones.

    The version as it is at the deadline (time.monotonic) where that comes first. Raises ValidationFailed where the
    file was rejected, LoadFailed where it does not load; then what served before serves on.
    """

    def checked() -> ModelVersion | None:
        fresh = find.versions().get(pk=version.pk)
        return None if fresh.status == FileStatus.CHECKING else fresh

    fresh = wait_until(checked, deadline - time.monotonic())
    if fresh is None:
        return find.versions().get(pk=version.pk)
    if fresh.status == FileStatus.REJECTED:
        raise ValidationFailed.of("file", fresh.status_detail)
    fresh = load(fresh, by=by, wait_s=max(0.0, deadline - time.monotonic()))
    if fresh.state is VersionState.LOADED:
        older = find.versions().filter(model=fresh.model, number__lt=fresh.number)
        if in_use := [v for v in older if v.state not in {VersionState.UNLOADED, VersionState.FAILED}]:
            unload(in_use, by=by, reason=f"Replaced by version {fresh.number}.")
    return fresh
