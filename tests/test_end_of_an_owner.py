"""An owner says that its instance has ended when nothing is left of it: whoever kills it then finds nothing to lose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.owner import Owner
from inference.owner.started_runner import Assignment
from tests.owner_report import Report, assigned


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    source = tmp_path / "source.onnx"
    source.write_bytes(b"no model at all")
    return assigned(tmp_path, "ending", source, "onnxruntime")


@pytest.fixture
def ended_pipe() -> Iterator[int]:
    """The cluster's sign to stop."""
    reading, writing = os.pipe()
    os.close(writing)
    yield reading
    os.close(reading)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(look=lambda: sorted(path.name for path in tmp_path.iterdir() if path.suffix not in {".log", ".onnx"}))


def test_a_model_that_cannot_be_loaded(assignment: Assignment, report: Report) -> None:
    Owner(assignment, report).run()

    assert report.ends == [("failed", [])]


def test_a_model_that_nobody_wants_any_more(assignment: Assignment, report: Report) -> None:
    report.is_unloaded = True

    Owner(assignment, report).run()

    assert len(report.runners) == 1
    assert report.ends == [("stopped", [])]


def test_a_cluster_that_stops(assignment: Assignment, report: Report, ended_pipe: int) -> None:
    Owner(assignment, report, stop_descriptor=ended_pipe).run()

    assert len(report.runners) == 1
    assert report.ends == [("interrupted", [])]
