"""Folders whose row has ended or is gone are removed, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_app.choices import PENDING_JOBS, InstanceState, JobKind, JobState
from models_app.models import Job
from models_app.services.leftovers import remove_leftovers
from tests.registry import make_version

pytestmark = pytest.mark.django_db
ENDED = (JobState.DONE, JobState.FAILED)


def test_only_folders_that_nobody_needs_are_removed(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_RUN_DIR = tmp_path
    jobs = {state: Job.objects.create(kind=JobKind.CHOOSE, version=make_version(), state=state) for state in JobState}
    ready, stopped = make_version("ready", InstanceState.READY), make_version("stopped", InstanceState.STOPPED)
    [kept], [ended] = ready.instances.all(), stopped.instances.all()
    needed = {
        f"instance-{kept.pk}",
        *(f"job-{jobs[state].pk}" for state in PENDING_JOBS),
        "spare-0",
        "job-x",
        "instance-",
    }
    gone = {f"instance-{ended.pk}", "instance-999", *(f"job-{jobs[state].pk}" for state in ENDED), "job-999"}
    for name in needed | gone:
        (tmp_path / name / "tmp").mkdir(parents=True)

    remove_leftovers()

    assert {path.name for path in tmp_path.iterdir()} == needed
