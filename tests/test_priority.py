"""Who computes gives way: the threads that load and run have a lower priority than the one that reads and answers."""

from __future__ import annotations

import os
from pathlib import Path

from inference.runner.priority import COMPUTING
from tests.running_portal import ROOT, RunningPortal


def test_threads_that_compute_give_way_to_the_one_that_answers(portal: RunningPortal) -> None:
    api = portal.client()
    api.upload("gives-way", ROOT / "samples" / "digits.keras", engine="openvino")
    api.load("gives-way")
    pid = api.pid("gives-way")
    threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
    priorities = {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}

    assert priorities.pop(pid) == 0, "the main thread reads and answers"
    assert priorities
    assert set(priorities.values()) == {COMPUTING}
