"""Trust: one file, by one superuser, for a reason that is kept. It is checked again without the allow-list."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from inference.errors import InUse, NotReady
from models_app.choices import LIVE, FileStatus
from models_app.models import ModelVersion
from models_app.services.actor import Actor, actor_name
from models_app.services.check import request_check
from models_app.services.find import lock
from models_app.services.move import record


def trust(version: ModelVersion, reason: str, *, by: Actor) -> None:
    """Record who trusts the file and why; check it again. Raises InUse while it is loaded, NotReady while checked."""
    with transaction.atomic():
        locked = lock(version)
        if locked.instances.filter(state__in=LIVE).exists():
            raise InUse(f"{version} is in use. Unload it first.")
        if locked.status == FileStatus.CHECKING:
            raise NotReady(f"{version} is still being checked.")
        ModelVersion.objects.filter(pk=version.pk).update(
            trusted_by=actor_name(by),
            trusted_at=timezone.now(),
            trusted_reason=reason,
            status=FileStatus.CHECKING,
            status_detail="",
        )
        record(version, locked.status, FileStatus.CHECKING, reason=f"Trusted: {reason}", by=actor_name(by))
        request_check(version, by=by)
