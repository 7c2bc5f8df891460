"""What a runner reports is looked at before it is believed: nonsense ends that runner, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inference import wire
from inference.host.processes import ProcessIdentity
from inference.owner import Owner
from inference.owner.reporting import Vitals
from inference.owner.started_runner import InvalidReport, StartedRunner
from inference.runner.statistics import Statistics
from inference.signature import Signature
from inference.workspace import Workspace
from models_app.services.metrics import SPANS, _RunnerMetrics
from tests.conftest import SAMPLE
from tests.owner_report import Report, assigned

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
        return runner.read_vitals(said)

    return report


def test_why_a_model_cannot_be_loaded_can_be_stored(runner: StartedRunner) -> None:
    runner.read_failure({"reason": "Keras has no layer 'a\ud800b\0'."})

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
    with pytest.raises(InvalidReport):
        reported(line)


SAYS_READY = """
import json, socket, sys
status = socket.socket(fileno=int(sys.argv[1]))
status.recv(65536)
said = {"event": "ready", "device": "cpu", "engine": "tensorflow", "precision": "f32", "sandbox": "full"}
status.sendall(int(sys.argv[2]) * (json.dumps(said).encode() + b"\\n"))
status.recv(65536)
"""


Starter = Callable[..., StartedRunner]


@pytest.fixture
def ready(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> Starter:
    """A process that says that it is ready, so many times, and nothing else until it is to end."""

    def start(times: int) -> StartedRunner:
        workspace = Workspace(tmp_path / "spare")
        workspace.prepare_empty()
        process = subprocess.Popen(
            [sys.executable, "-c", SAYS_READY, str(pair[1].fileno()), str(times)],
            stdout=subprocess.PIPE,
            pass_fds=[pair[1].fileno()],
            process_group=0,
        )
        identity, pidfd = ProcessIdentity(process.pid, 0, ""), os.pidfd_open(process.pid)
        (tmp_path / "socket").touch()
        return StartedRunner(process, identity, pidfd, pair[0], tmp_path / "socket", 0.0, workspace)

    return start


def test_a_process_that_says_again_and_again_that_it_is_ready_is_ended(ready: Starter, tmp_path: Path) -> None:
    report = Report(is_kept=False)
    spare = ready(times=300)

    Owner(assigned(tmp_path, "loaded", SAMPLE, "tensorflow"), report, spare=spare).run()

    assert [facts.runner.pid for facts in report.ready_ones] == [spare.process.pid]
    assert spare.process.returncode == -signal.SIGKILL
    assert ["makes no sense" in reason for reason in report.reasons] == [True]


@dataclass
class Away(Report):
    """Of an owner that loses a thousand seconds once its model is ready, and is to unload it a little later."""

    lost_s: float = 0.0
    looks: int = 0

    def is_wanted(self) -> bool:
        if self.ready_ones:
            self.lost_s, self.looks = 1000.0, self.looks + 1
        return self.looks < 3

    def clock(self) -> float:
        return time.monotonic() + self.lost_s


def test_an_owner_that_was_away_takes_no_silence_for_a_hang(ready: Starter, tmp_path: Path) -> None:
    report = Away(is_kept=False)

    Owner(assigned(tmp_path, "loaded", SAMPLE, "tensorflow"), report, spare=ready(times=1), clock=report.clock).run()

    assert (report.reasons, [how for how, _ in report.ends]) == ([], ["stopped"])


@pytest.mark.parametrize("count", ["9" * 400, 10**400, float("inf"), -1, 1.5, None], ids=lambda count: str(count)[:9])
def test_figures_that_no_series_can_hold_are_told_from_others(count: object) -> None:
    metrics = _RunnerMetrics()
    metrics.add(["model", "1", "one"], FIGURES)

    for said in (FIGURES | {"queue_depth": count}, FIGURES | {"batches": {"9" * 400: {"count": 1}}}):
        with pytest.raises(ValueError, match="no count"):
            metrics.add(["model", "1", "another"], said)

    assert all("another" not in sample.labels.values() for metric in metrics.all() for sample in metric.samples)


def test_codes_without_end_are_no_series() -> None:
    metrics = _RunnerMetrics()

    with pytest.raises(ValueError, match="more codes"):
        metrics.add(["model", "1", "one"], FIGURES | {"errors": {f"code{number}": 1 for number in range(1000)}})


def test_sizes_that_clients_choose_fit_into_a_frame() -> None:
    statistics = Statistics()
    for rows in range(1, 100_001):
        statistics.count_call(rows, 0.001)

    said = statistics.as_json(queue_depth=0, in_flight=0)

    assert len(wire.joined(said)) < 10**5
    assert said["batches"]["1024"]["count"] == 1
    assert (said["batches"]["2048"]["count"], said["batches"]["131072"]["count"]) == (1024, 100_000 - 65_536)


@pytest.mark.parametrize(
    "broken",
    [{"shape": ["x"]}, {"shape": [-1]}, {"shape": [True]}, {"shape": [2**70]}, {"shape": "12"}, {"name": "x\0"}],
)
def test_a_signature_that_makes_no_sense_is_not_read(broken: dict[str, object]) -> None:
    spec = {"name": "x", "dtype": "float32", "shape": [None, 3]}
    assert Signature.from_json({"inputs": [spec], "outputs": []}).inputs[0].shape == (None, 3)

    with pytest.raises(ValueError, match="makes no sense"):
        Signature.from_json({"inputs": [spec | broken], "outputs": []})
