"""What the first start makes: the administrator, groups of rights, the node's row, the sample model."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission

from inference.errors import PortalError
from models_app.models import RegisteredModel, Transition
from models_app.services import files, upload
from models_app.services.dispatch import forget_workers
from models_app.services.nodes import announce_slots, this_node
from models_app.services.reconcile import forget_owners, recover_abandoned
from portal import env

SAMPLES = Path(settings.BASE_DIR) / "samples"
GROUPS = {
    "Ask models": {"view", "predict"},
    "Run models": {"view", "predict", "load", "unload"},
    "Manage models": {"view", "predict", "load", "unload", "add", "change", "delete"},
}
"""What their members may do with models and versions."""


def prepare() -> Iterator[str]:
    """Make what is missing; yields lines to print on the terminal.

    Rows that describe processes are corrected first: after kill -9 on everything no model may be shown as ready.
    """
    node = this_node()
    announce_slots(node)
    forget_owners(node)
    recover_abandoned(node)
    forget_workers()
    if not get_user_model().objects.exists():
        _groups()
        yield from _first_administrator()
    yield from _sample()
    for name in files.orphans():
        yield f"The folder {name} of the store belongs to no version. It was left alone."


def _groups() -> None:
    """A person gets one group instead of up to eleven permissions. Made only once: changes and deletions last."""
    for name, verbs in GROUPS.items():
        group, is_new = Group.objects.get_or_create(name=name)
        if is_new:
            codenames = [f"{verb}_{noun}" for verb in verbs for noun in ("registeredmodel", "modelversion")]
            group.permissions.set(
                Permission.objects.filter(content_type__app_label="models_app", codename__in=codenames)
            )


def _first_administrator() -> Iterator[str]:
    password = env.text("PORTAL_ADMIN_PASSWORD")
    is_random = not password
    password = password or secrets.token_urlsafe(12)
    get_user_model().objects.create_superuser("admin", "", password)
    if is_random:
        yield f"The first administrator is admin, the password {password} (shown once; change it in the admin)."


def _sample() -> Iterator[str]:
    """Register the sample model if the database never held a model: once deleted, it does not come back."""
    if not settings.PORTAL_SAMPLE or RegisteredModel.objects.exists() or Transition.objects.exists():
        return
    try:
        _register(json.loads((SAMPLES / "digits.json").read_text("utf-8")))
    except PortalError as error:
        yield f"The sample was not registered: {error.message}"


def _register(facts: dict[str, Any]) -> None:
    received = files.receive_copy(SAMPLES / facts["file"], facts["file"])
    use = upload.VersionSettings.from_fields(
        {key: facts[key] for key in ("labels", "preprocessing", "postprocessing", "engine") if key in facts}
    )
    upload.create_model(facts["name"], received, use, by=None, description=facts["description"])
