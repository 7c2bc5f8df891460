"""Why a runner has ended: for want of memory only where the kernel has just ended something for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.host.memory import oom_kills
from inference.host.processes import identify
from inference.owner.started_runner import StartedRunner, adopt
from inference.workspace import Workspace
from tests.owner_report import assigned


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[StartedRunner]:
    """A process since whose start the kernel has ended another one somewhere on this host."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE, process_group=0)
    identity = identify(process.pid)
    assert identity is not None
    kills = oom_kills() - 1
    runner = StartedRunner(
        process, identity, os.pidfd_open(process.pid), ours, tmp_path / "socket", 0.0,
        oom_kills_before=kills, oom_kills_seen=kills,
    )  # fmt: skip
    yield runner
    runner.kill()
    runner.close()
    theirs.close()


def test_a_kill_soon_after_the_kernel_has_ended_something_is_for_want_of_memory(runner: StartedRunner) -> None:
    runner.measure(now=1.0)  # between the kernel's decision and the end of a process it can still be measured

    end(runner)

    assert runner.is_out_of_memory
    assert "Memory ran out" in runner.why_ended()


def test_a_kill_long_after_that_is_one_from_outside(runner: StartedRunner) -> None:
    for now in (1.0, 2.0):
        runner.measure(now)

    end(runner)

    assert not runner.is_out_of_memory
    assert "killed from outside" in runner.why_ended()


def test_measuring_one_that_has_ended_changes_nothing(runner: StartedRunner) -> None:
    runner.measure(now=1.0)
    used = runner.vitals.memory_bytes
    os.kill(runner.process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, runner.process.pid, os.WEXITED | os.WNOWAIT)

    for now in (2.0, 3.0):
        runner.measure(now)
    end(runner)

    assert used and runner.vitals.memory_bytes == used
    assert runner.is_out_of_memory


def test_the_socket_of_a_warm_process_gets_the_name_of_its_instance(runner: StartedRunner, tmp_path: Path) -> None:
    runner.workspace = Workspace(tmp_path / "spare-0")
    runner.workspace.prepare_empty()
    source = tmp_path / "model.onnx"
    source.touch()
    assignment = assigned(tmp_path, "i7", source, "onnxruntime")

    with socket.create_server(str(runner.socket_path), family=socket.AF_UNIX):
        adopt(runner, assignment, 0.0)

        assert [path.name.split("-")[0] for path in tmp_path.iterdir() if path.is_socket()] == ["i7"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(runner.socket_path))


def end(runner: StartedRunner) -> None:
    os.kill(runner.process.pid, signal.SIGKILL)
    runner.process.wait(5)
    runner.notice_memory()
