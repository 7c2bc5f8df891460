"""Leftovers: folders in `run/` whose job or instance has ended, because a process was killed at an unlucky moment.

What has ended never begins again, and its number is never used again: no folder is removed that is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from inference.workspace import Workspace
from models_app.choices import LIVE, PENDING_JOBS
from models_app.models import Instance, Job


def remove_leftovers() -> None:
    """Remove the folders of jobs that have ended or are gone, and of instances that are no longer live."""
    folder = Path(settings.PORTAL_RUN_DIR)
    _remove(folder, "job-", lambda pk: Job.objects.filter(pk=pk, state__in=PENDING_JOBS).exists())
    _remove(folder, "instance-", lambda pk: Instance.objects.filter(pk=pk, state__in=LIVE).exists())


def _remove(folder: Path, prefix: str, is_needed: Callable[[int], bool]) -> None:
    for path in folder.glob(f"{prefix}*"):
        number = re.fullmatch(rf"{prefix}(\d+)", path.name)
        if number and not is_needed(int(number[1])):
            Workspace(path).remove()
