"""Replace: a version takes the place of what served before. Loaded after its check, then the older ones are unloaded.

The wish is stored with the version, so it is fulfilled even if the client has gone or the portal was restarted
meanwhile. The older versions serve until the new one is ready.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from inference.errors import PortalError, ValidationFailed
from models_app.choices import FileStatus, VersionState
from models_app.models import ModelVersion
from models_app.services import find
from models_app.services.actor import Actor
from models_app.services.load import load, wait_until_loaded
from models_app.services.unload import DEFAULT_WAIT_S, unload
from models_app.services.waiting import wait_until

logger = logging.getLogger("portal.replace")


def wish(version: ModelVersion, *, instances: int) -> None:
    """Let a version that exists take the place of the older ones; `await_replacement`, or its check, goes on."""
    wished = Greatest(F("instances_wanted"), Value(instances))
    ModelVersion.objects.filter(pk=version.pk).update(replaces_older=True, instances_wanted=wished)


def begin(version: ModelVersion, *, by: Actor) -> None:
    """Its check has ended well: load it if that is still wished."""
    try:
        _load_where(version, by, replaces_older=True)
    except PortalError as error:
        logger.warning("%s was to be loaded after its check: %s", version, error.message)


def finish(version: ModelVersion, *, by: Actor) -> None:
    """It is ready: unload the older ones if that was wished."""
    if ModelVersion.objects.filter(pk=version.pk, replaces_older=True).exists():
        _unload_older(version, by, wait_s=0.0)
        _forget_wish(version)  # last: what is cut off here is done at the next time that it is ready


def give_up(version: ModelVersion) -> None:
    """It has failed for good: what serves serves on."""
    _forget_wish(version)


def _forget_wish(version: ModelVersion) -> None:
    ModelVersion.objects.filter(pk=version.pk, replaces_older=True).update(replaces_older=False)


def _load_where(version: ModelVersion, by: Actor, **conditions: Any) -> bool:
    """Load it if the row still holds the wish: an unload before this withdraws it, a later one cancels the load.

    Raises what `load` raises; then the wish is given up, or a later load would unload what serves.
    """
    try:
        with transaction.atomic():
            wished = ModelVersion.objects.select_for_update().filter(pk=version.pk, **conditions).first()
            if wished is not None:
                load(wished, by=by, instances=max(1, wished.instances_wanted))
    except PortalError:
        give_up(version)
        raise
    return wished is not None


def _unload_older(version: ModelVersion, by: Actor, *, wait_s: float) -> None:
    """Those that are still to be loaded too: a large file may be checked for longer than the next one."""
    older = find.versions().filter(model=version.model_id, number__lt=version.number)
    ended = {VersionState.UNLOADED, VersionState.FAILED}
    if replaced := [v for v in older if v.replaces_older or v.state not in ended]:
        unload(replaced, by=by, wait_s=wait_s, reason=f"Replaced by version {version.number}.")


def await_replacement(version: ModelVersion, *, by: Actor, deadline: float) -> ModelVersion:
    """The version once it serves alone, or as it is at the deadline (time.monotonic) or after an unload meanwhile.

    Raises ValidationFailed where the file was rejected, LoadFailed or NoSlot where it does not load; then what served
    before serves on. Raises NotFound where it was deleted.
    """

    def checked() -> ModelVersion | None:
        fresh = find.again(version)
        return None if fresh.status == FileStatus.CHECKING else fresh

    fresh = wait_until(checked, deadline - time.monotonic())
    if fresh is None:
        return find.again(version)
    if fresh.status == FileStatus.REJECTED:
        raise ValidationFailed.of("file", fresh.status_detail)
    # Not replaces_older, which a failed `begin` has dropped: loading again says why.
    if not _load_where(fresh, by, instances_wanted__gt=0):
        return find.again(version)
    fresh = wait_until_loaded(fresh, deadline - time.monotonic())
    if fresh.state is VersionState.LOADED:
        _unload_older(fresh, by, wait_s=DEFAULT_WAIT_S)
        _forget_wish(fresh)  # it has come true; nobody calls `finish` where the version was loaded before
    return fresh
