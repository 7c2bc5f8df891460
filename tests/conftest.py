"""Fixtures: a portal that is started once for the whole run, and one for tests that break theirs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

# Tests with Django's own test database must not touch the data of this checkout.
os.environ.setdefault("PORTAL_DATA_DIR", tempfile.mkdtemp(prefix="portal-tests-"))

import pytest

from tests.running_portal import ROOT, Api, RunningPortal, running_portal

SAMPLE = ROOT / "samples" / "digits.keras"
DIGIT_LABELS = '["0","1","2","3","4","5","6","7","8","9"]'


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """One portal that all well-behaved tests share. Its sample model `digits` is checked and not loaded."""
    with running_portal(tmp_path_factory.mktemp("portal") / "data") as started:
        started.client().checked("digits")
        yield started


@pytest.fixture
def new_portal(tmp_path: Path) -> Iterator[Callable[..., RunningPortal]]:
    """Makes portals for one test alone; `new_portal(PORTAL_SLOTS="2")`."""
    with ExitStack() as stack:
        count = 0

        def make(**environment: str) -> RunningPortal:
            nonlocal count
            count += 1
            return stack.enter_context(running_portal(tmp_path / f"data{count}", **environment))

        yield make


@pytest.fixture
def api(portal: RunningPortal) -> Api:
    """A client that may do everything."""
    return portal.client("manage")


@pytest.fixture
def digit() -> Callable[[str], bytes]:
    """`digit("seven")`: a picture of the sample."""
    return lambda name: (ROOT / "samples" / "images" / f"{name}.png").read_bytes()


@pytest.fixture(scope="session")
def engine_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that one process with TensorFlow has written (about 15 s); see tests/engine_models.py."""
    folder = tmp_path_factory.mktemp("engine-models")
    command = [sys.executable, "-m", "tests.engine_models", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder
