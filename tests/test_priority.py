"""Who gives way to whom: a load to all that runs, the web to a model that computes."""

from __future__ import annotations

import os
from pathlib import Path

from inference.runner.priority import LOADING
from tests.running_portal import ROOT, RunningPortal


def test_what_an_engine_starts_at_the_load_gives_way_and_what_answers_does_not(portal: RunningPortal) -> None:
    api = portal.client()
    api.upload("gives-way", ROOT / "samples" / "digits.keras", engine="openvino")
    api.load("gives-way")
    pid = api.pid("gives-way")
    threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    priorities = {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}

    assert priorities[pid] == 0, "the main thread reads and answers"
    assert LOADING in priorities.values()


def test_the_web_does_not_interrupt_a_model(portal: RunningPortal) -> None:
    assert os.SCHED_BATCH in {os.sched_getscheduler(process.pid) for process in portal.web()}
