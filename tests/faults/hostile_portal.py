"""A portal whose runners are hostile: a copy of the project in which one file of the runner is another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running_portal import ROOT, RunningPortal

COPIED = ("portal", "models_app", "inference", "templates", "static", "samples", "manage.py")


@contextmanager
def hostile_portal(folder: Path, **environment: str) -> Iterator[RunningPortal]:
    """Its runners do what tests/faults/hostile_serving.py says; all the rest is as it is."""
    root = folder / "project"
    root.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    runner = root / "inference" / "runner"
    (runner / "serving.py").rename(runner / "honest_serving.py")
    shutil.copy(Path(__file__).with_name("hostile_serving.py"), runner / "serving.py")
    shutil.copy(Path(__file__).with_name("hostile_serving_acts.py"), runner)
    portal = RunningPortal(folder / "data", **environment)
    portal.root = root
    try:
        yield portal.start()
    finally:
        try:
            portal.stop()
        finally:
            portal.kill_everything()
