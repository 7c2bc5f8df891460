"""What a runner reports is looked at before it is believed: nonsense ends that runner, and nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference.processes import ProcessIdentity
from inference.reporting import Vitals
from inference.signature import Signature
from inference.started_runner import NoSense, StartedRunner
from models_app.services.metrics import SPANS, _RunnerMetrics

ALIVE: dict[str, Any] = {"event": "alive", "requests": 5, "errors": 1, "queue": 2, "in_flight": 3, "p95_ms": 1.5}
HISTOGRAM = {"bounds": [0.1, 1.0], "counts": [1, 2, 3], "sum": 4.5}
FIGURES: dict[str, Any] = {
    "histograms": dict.fromkeys(SPANS, HISTOGRAM),
    "batches": {"1": {"count": 3}},
    "queue_depth": 0,
    "in_flight": 1,
    "errors": {"busy": 2},
}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def runner(pair: tuple[socket.socket, socket.socket]) -> Iterator[StartedRunner]:
    with subprocess.Popen(["true"]) as process:
        yield StartedRunner(process, ProcessIdentity(process.pid, 0, ""), -1, pair[0], Path("socket"), 0.0)


@pytest.fixture
def reported(pair: tuple[socket.socket, socket.socket], runner: StartedRunner) -> Callable[[bytes], Vitals]:
    """What a line on the status socket becomes."""

    def report(line: bytes) -> Vitals:
        pair[1].sendall(line + b"\n")
        (said,) = runner.read_reports() or []
        return runner.hear_vitals(said)

    return report


def test_why_a_model_cannot_be_loaded_can_be_stored(runner: StartedRunner) -> None:
    runner.hear_failure({"reason": "Keras has no layer 'a\ud800b\0'."})

    assert runner.unusable == "Keras has no layer 'a?b'."


def test_the_figures_of_a_heartbeat_are_taken_in(reported: Callable[[bytes], Vitals]) -> None:
    assert reported(json.dumps(ALIVE).encode()) == Vitals(requests=5, errors=1, queue=2, in_flight=3, p95_ms=1.5)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 60_000,
        json.dumps(ALIVE | {"requests": float("inf")}).encode(),
        json.dumps(ALIVE).replace('"requests": 5', '"requests": 1e999').encode(),
        json.dumps(ALIVE | {"requests": 10**30}).encode(),
        json.dumps(ALIVE | {"queue": 2**31}).encode(),
        json.dumps(ALIVE | {"errors": -1}).encode(),
        json.dumps(ALIVE | {"p95_ms": float("nan")}).encode(),
    ],
    ids=["deep", "infinite", "too large a float", "too large", "too many for a column", "negative", "no number"],
)
def test_reports_that_make_no_sense_are_told_from_others(reported: Callable[[bytes], Vitals], line: bytes) -> None:
    with pytest.raises(NoSense):
        reported(line)


@pytest.mark.parametrize("count", ["9" * 400, 10**400, float("inf"), -1, 1.5, None], ids=lambda count: str(count)[:9])
def test_figures_that_no_series_can_hold_are_told_from_others(count: object) -> None:
    metrics = _RunnerMetrics()
    metrics.add(["model", "1", "one"], FIGURES)

    for said in (FIGURES | {"queue_depth": count}, FIGURES | {"batches": {"9" * 400: {"count": 1}}}):
        with pytest.raises(ValueError, match="no count"):
            metrics.add(["model", "1", "another"], said)

    assert all("another" not in sample.labels.values() for metric in metrics.all() for sample in metric.samples)


@pytest.mark.parametrize(
    "broken",
    [{"shape": ["x"]}, {"shape": [-1]}, {"shape": [True]}, {"shape": [2**70]}, {"shape": "12"}, {"name": "x\0"}],
)
def test_a_signature_that_makes_no_sense_is_not_read(broken: dict[str, object]) -> None:
    spec = {"name": "x", "dtype": "float32", "shape": [None, 3]}
    assert Signature.from_json({"inputs": [spec], "outputs": []}).inputs[0].shape == (None, 3)

    with pytest.raises(ValueError, match="makes no sense"):
        Signature.from_json({"inputs": [spec | broken], "outputs": []})
