"""Trust: one file, by one superuser, for a reason that is kept. It is checked again without the allow-list."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from inference.errors import ValidationFailed
from inference.json_object import is_text
from models_app.choices import FileStatus
from models_app.models import ModelVersion
from models_app.services.actor import Actor, actor_name
from models_app.services.check import request_check
from models_app.services.find import lock_unused
from models_app.services.move import record

LONGEST_REASON = 1000


def trust(version: ModelVersion, reason: object, *, by: Actor) -> None:
    """Record who trusts the file and why; check it again.

    Raises ValidationFailed where the reason is no text of 1 to 1,000 characters, InUse while the version is loaded,
    NotReady while it is checked.
    """
    text = reason.strip() if isinstance(reason, str) and is_text(reason) else ""
    if not 0 < len(text) <= LONGEST_REASON:
        raise ValidationFailed.of("reason", f"Say in at most {LONGEST_REASON} characters why the file is trusted.")
    with transaction.atomic():
        locked = lock_unused(version)
        ModelVersion.objects.filter(pk=version.pk).update(
            trusted_by=actor_name(by),
            trusted_at=timezone.now(),
            trusted_reason=text,
            status=FileStatus.CHECKING,
            status_detail="",
        )
        record(version, locked.status, FileStatus.CHECKING, reason=f"Trusted: {text}", by=actor_name(by))
        request_check(version, by=by)
