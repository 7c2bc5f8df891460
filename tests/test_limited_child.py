"""Whatever works on somebody's file is walled in, watched and gone at the end; what it says is not believed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from inference.checking import check_file
from inference.comparison.measurement import BRIEF, Candidate, measure
from inference.conversion import convert
from inference.host import memory as host_memory
from inference.limited_child import ChildFailed, Limits, Message, run_child
from inference.refusal import FileRejected
from inference.runner.sandbox import SandboxMissing
from inference.workspace import Workspace
from tests.conftest import SAMPLE
from tests.this_host import available
from tests.walled_in import without_landlock

needs_everything = pytest.mark.skipif(available().name != "full", reason=f"this host: {available().missing}")
PLENTY = Limits(seconds=60.0, memory_bytes=10**9)
WORK = "tests.child_work"


@pytest.fixture(autouse=True)
def readable_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox shows a child the folders of libraries; so it can import the work of these tests."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(Path(__file__).parent))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "work")
    made.prepare(SAMPLE, "model.keras")
    return made


def ask(workspace: Workspace, verb: str, *, limits: Limits = PLENTY, sandbox: str = "auto", **more: Any) -> Message:
    return run_child(WORK, {"verb": verb, **more}, workspace, limits, sandbox=sandbox)


def no_child_is_left() -> bool:
    return not [p for p in psutil.Process().children() if "inference.limited_child" in p.cmdline()]


def quiet(percent: int, detail: str) -> None:
    pass


@needs_everything
def test_a_child_is_inside_the_whole_sandbox_before_numpy_is_there(workspace: Workspace) -> None:
    said = ask(workspace, "describe", sandbox="require")

    assert said["had_numpy"] is False
    assert "Seccomp:\t2" in said["status"] and "NoNewPrivs:\t1" in said["status"]
    assert said["group"] == said["pid"]


@needs_everything
def test_a_child_reaches_nothing_outside_of_its_folders(workspace: Workspace, tmp_path: Path) -> None:
    secret, marker = tmp_path / "secret", tmp_path / "marker"
    secret.write_text("a secret")
    tries = {"secret": str(secret), "marker": str(marker), "model": str(workspace.model_directory / "model.keras")}

    outside, inside = ask(workspace, "attack", sandbox="off", **tries), None
    assert marker.exists(), "the control"
    marker.unlink()
    inside = ask(workspace, "attack", sandbox="require", **tries)

    assert set(outside.values()) == {"done"}, "the control"
    assert set(inside.values()) == {"PermissionError"}
    assert not marker.exists()


def test_the_environment_of_the_portal_does_not_reach_a_child(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_SECRET_KEY", "a secret")
    monkeypatch.setenv("A_VARIABLE", "a value")

    names = set(ask(workspace, "describe")["environment"])

    assert not names & {"PORTAL_SECRET_KEY", "A_VARIABLE", "PORTAL_DATA_DIR"}


@pytest.mark.parametrize(
    ("verb", "limits", "sentence"),
    [
        ("sleep", Limits(2.0, 10**9), "It took more than 2 s and was stopped."),
        ("eat", Limits(60.0, 2 * 10**8), "It took more than 0.2 GB of memory and was stopped."),
        ("talk", PLENTY, "said more than it should"),
        ("nonsense", PLENTY, "answered something that makes no sense"),
        ("deep", PLENTY, "answered something that makes no sense"),
        ("die", PLENTY, "The file ended the process that worked on it."),
        ("raise", PLENTY, "The file ended the process that worked on it."),
        ("leave", PLENTY, "The file ended the process that worked on it."),
    ],
)
def test_a_child_beyond_its_limits_is_stopped_with_a_sentence(
    workspace: Workspace, verb: str, limits: Limits, sentence: str
) -> None:
    began = time.monotonic()
    with pytest.raises(ChildFailed) as failure:
        ask(workspace, verb, limits=limits)

    print(f"{verb}: stopped after {time.monotonic() - began:.2f} s")
    assert sentence in str(failure.value)
    assert str(workspace.root) not in str(failure.value)
    assert time.monotonic() - began < 30
    assert no_child_is_left()


@pytest.mark.parametrize(
    ("size_mb", "free_gb", "expected_gb"),
    [
        (100, 64, 4),
        (1400, 20, 7.6),  # ConvNeXtXLarge, whose check takes 4.9 GB
        (1400, 2, 4),
        (5000, 20, 15),
    ],
    ids=["small", "large", "large, and nothing is free", "more than is free"],
)
def test_a_large_file_may_take_more_memory_if_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size_mb: int, free_gb: int, expected_gb: float
) -> None:
    monkeypatch.setattr(host_memory, "free_bytes", lambda: free_gb * 10**9)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size_mb * 10**6)  # a hole, which takes no room

    grown = Limits(seconds=60.0, memory_bytes=4 * 10**9).grown_for(tmp_path / "large", memory_per_byte=4)

    assert grown.memory_bytes == int(expected_gb * 10**9)
    assert grown.seconds == pytest.approx(60.0 + 0.06 * size_mb)


def test_a_child_ends_with_its_parent(workspace: Workspace) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            ask(workspace, "sleep")
        finally:
            os._exit(0)
    deadline = time.monotonic() + 30
    while not (children := psutil.Process(pid).children()) and time.monotonic() < deadline:
        time.sleep(0.01)

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    gone, alive = psutil.wait_procs(children, timeout=30)
    assert len(gone) == 1 and not alive


def test_parts_that_were_heard_count_though_the_child_died_later(workspace: Workspace) -> None:
    heard: list[Message] = []

    with pytest.raises(ChildFailed):
        run_child(WORK, {"verb": "part"}, workspace, PLENTY, sandbox="auto", on_part=heard.append)

    assert heard == [{"number": 1}]


def test_a_silent_child_ends_soon_after_its_work_is_no_longer_wanted(workspace: Workspace) -> None:
    told: list[tuple[int, str]] = []
    before = set(psutil.Process().children())

    def tell(percent: int, detail: str) -> None:
        told.append((percent, detail))
        if len(told) == 3:
            raise LookupError("it was deleted")

    began = time.monotonic()
    with pytest.raises(LookupError):
        run_child(WORK, {"verb": "sleep"}, workspace, PLENTY, sandbox="auto", progress=tell, stage=(10, "Reading."))

    print(f"ended after {time.monotonic() - began:.1f} s")
    assert told == [(10, "Reading.")] * 3
    assert time.monotonic() - began < 15
    assert not set(psutil.Process().children()) - before


def test_of_much_progress_little_is_told_and_always_the_last(workspace: Workspace) -> None:
    told: list[str] = []
    began = time.monotonic()

    request = {"verb": "count"}
    run_child(WORK, request, workspace, PLENTY, sandbox="auto", progress=lambda percent, detail: told.append(detail))

    seconds = time.monotonic() - began
    print(f"2000 lines in {seconds:.2f} s, {len(told)} told")
    assert told[-1] == "Step 1999."
    assert len(told) < 100 + 10 * seconds + 2


def _checked(folder: Path) -> str:
    with pytest.raises(FileRejected) as refusal:
        check_file(SAMPLE, workspace=Workspace(folder), is_trusted=False, sandbox="require", progress=quiet)
    return str(refusal.value)


def _converted(folder: Path) -> str:
    outcome = convert(SAMPLE, "keras", ["onnx"], Workspace(folder), progress=quiet, sandbox="require")["onnx"]
    assert isinstance(outcome, Exception)
    return str(outcome)


def _measured(folder: Path) -> str:
    pictures = {"pixels": np.zeros((1, 8, 8, 1), np.float32)}
    candidate = Candidate("tensorflow", SAMPLE, "keras")
    row, outputs = measure(candidate, pictures, Workspace(folder), sandbox="require", effort=BRIEF)
    assert outputs is None
    return row.error


def _run(folder: Path) -> str:
    workspace = Workspace(folder)
    workspace.prepare(SAMPLE, "model.keras")
    with pytest.raises(SandboxMissing) as refusal:
        ask(workspace, "describe", sandbox="require")
    return str(refusal.value)


@needs_everything
@pytest.mark.parametrize("task", [_checked, _converted, _measured, _run])
def test_where_the_sandbox_is_required_and_missing_nothing_is_opened(
    tmp_path: Path, task: Callable[[Path], str]
) -> None:
    sentence = without_landlock(f"tests.test_limited_child:{task.__name__}", tmp_path / "work")

    assert "only inside the whole sandbox (PORTAL_SANDBOX=require)" in sentence
    assert "Files are not walled off" in sentence
    assert str(tmp_path) not in sentence
