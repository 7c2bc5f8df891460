"""A model that is not ready in time holds its slot no longer."""

from __future__ import annotations

import time
from pathlib import Path

from inference.owner import LOAD_LIMIT_S, Owner
from inference.processes import identify
from inference.runner.config import RunnerConfig
from inference.started_runner import Assignment
from inference.workspace import Workspace
from tests.owner_report import Report
from tests.running_portal import ROOT

FASTER = 10 * LOAD_LIMIT_S


def test_a_load_beyond_its_limit_fails_and_is_not_tried_again(tmp_path: Path) -> None:
    report = Report()
    assignment = Assignment(
        name="slow",
        source=ROOT / "samples" / "digits.keras",
        file_name="model.keras",
        config=RunnerConfig(model_path="", format="keras", engine="tensorflow"),
        workspace=Workspace(tmp_path / "slow"),
        sockets=tmp_path,
        log_path=tmp_path / "slow.log",
        environment={},
    )

    Owner(assignment, report, clock=lambda: time.monotonic() * FASTER).run()

    assert report.reasons == [f"The model was not ready after {LOAD_LIMIT_S:.0f} s. Load it to try again."]
    [runner] = report.runners
    now = identify(runner.pid)
    assert now is None or now.started_at != runner.started_at
    assert {path.name for path in tmp_path.iterdir()} <= {"slow.log"}
