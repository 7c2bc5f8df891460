"""A model that is not ready in time holds its slot no longer."""

from __future__ import annotations

import time
from pathlib import Path

from inference.host.processes import identify
from inference.owner import LOAD_LIMIT_S, Owner
from tests.owner_report import Report, assigned
from tests.running_portal import ROOT

FASTER = 10 * LOAD_LIMIT_S


def test_a_load_beyond_its_limit_fails_and_is_not_tried_again(tmp_path: Path) -> None:
    report = Report()
    assignment = assigned(tmp_path, "slow", ROOT / "samples" / "digits.keras", "tensorflow")

    Owner(assignment, report, clock=lambda: time.monotonic() * FASTER).run()

    assert report.reasons == [f"The model was not ready after {LOAD_LIMIT_S:.0f} s. Load it to try again."]
    [runner] = report.runners
    now = identify(runner.pid)
    assert now is None or now.started_at != runner.started_at
    assert {path.name for path in tmp_path.iterdir()} <= {"slow.log"}
