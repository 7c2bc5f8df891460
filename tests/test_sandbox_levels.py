"""The level that is reported is what holds: full, partial or none, and what PORTAL_SANDBOX makes of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from inference.runner.config import RunnerConfig
from inference.runner.sandbox import Allowed, enter_as, syscalls
from tests.this_host import available
from tests.walled_in import LIMIT_S, Place, environment, run_in, wrapped

LANDLOCK = (444, 445, 446)
LEVEL = """
try:
    level = enter()
    say([level.name, level.missing])
except SandboxMissing as refusal:
    say(["refused", str(refusal)])
"""

_machine = syscalls.architecture()
SECCOMP = (syscalls.number("seccomp", _machine) or -1,) if _machine else ()

needs_everything = pytest.mark.skipif(available().name != "full", reason=f"this host: {available().missing}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.beneath(tmp_path)


@needs_everything
@pytest.mark.parametrize("mode", ["auto", "require"])
def test_with_all_layers_the_level_is_full(place: Place, mode: str) -> None:
    assert run_in(place, LEVEL, mode) == ["full", ""]


def test_switched_off_nothing_is_walled_in_and_the_level_says_so(place: Place) -> None:
    level, missing = run_in(place, LEVEL, "off")

    assert level == "none"
    assert "PORTAL_SANDBOX=off" in missing


@needs_everything
@pytest.mark.parametrize(
    ("without", "level", "says"),
    [
        (LANDLOCK, "partial", "Files are not walled off"),
        (SECCOMP, "partial", "Programs and the network are not denied"),
        (LANDLOCK + SECCOMP, "none", "Files are not walled off"),
    ],
    ids=["no Landlock", "no seccomp", "neither"],
)
def test_on_an_older_kernel_auto_goes_on_and_require_refuses(
    place: Place, without: tuple[int, ...], level: str, says: str
) -> None:
    reached, missing = run_in(place, LEVEL, "auto", without=without)
    outcome, sentence = run_in(place, LEVEL, "require", without=without)

    assert reached == level
    assert says in missing
    assert outcome == "refused"
    assert says in sentence
    assert "PORTAL_SANDBOX=auto" in sentence


@needs_everything
def test_without_landlock_programs_and_the_network_are_still_denied(place: Place) -> None:
    code = """
enter()
refused = []
for attempt in (lambda: socket.socket(), lambda: os.fork() or os._exit(0), lambda: os.execv("/bin/true", ["true"])):
    try:
        attempt()
        refused.append(False)
    except PermissionError:
        refused.append(True)
say([*refused, (OUTSIDE / "secret").read_text()])
"""
    assert run_in(place, code, "auto", without=LANDLOCK) == [True, True, True, "a secret"]


@needs_everything
def test_a_file_that_can_be_read_after_all_takes_the_level_down(place: Place) -> None:
    code = """
allowed = Allowed.for_workspace(workspace)
import dataclasses
level = enter_as(MODE, dataclasses.replace(allowed, read=(*allowed.read, workspace.root.parent)))
say([level.name, level.missing])
"""
    level, missing = run_in(place, code, "auto")

    assert level == "partial"
    assert "Files outside" in missing


@needs_everything
def test_a_canary_that_is_not_there_proves_nothing(place: Place) -> None:
    place.workspace.canary.unlink()

    assert run_in(place, LEVEL, "auto")[0] == "partial"


@needs_everything
def test_threads_that_ran_before_take_the_level_down(place: Place) -> None:
    code = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n" + LEVEL

    level, missing = run_in(place, code, "auto")

    assert level == "partial"
    assert "threads" in missing


def test_a_missing_folder_does_not_switch_the_wall_off_in_silence(place: Place) -> None:
    place.workspace.remove()
    place.workspace.tmp_directory.mkdir(parents=True)
    code = "try:\n    enter()\nexcept FileNotFoundError:\n    say('raised')"

    assert run_in(place, code, "auto") == "raised"


def test_a_wrong_mode_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PORTAL_SANDBOX"):
        enter_as("sometimes", Allowed(canary=tmp_path))


@needs_everything
def test_a_runner_says_why_it_does_not_start_where_the_sandbox_is_required(place: Place) -> None:
    model = place.workspace.model_directory / "model"
    config = RunnerConfig(model_path=str(model), format="keras", engine="tensorflow", sandbox="require")
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.workspace.root / "socket"))
        descriptors = (listener.fileno(), theirs.fileno())
        command = [sys.executable, "-s", "-P", "-B", "-c", RUNNER, *map(str, descriptors), config.encode().decode()]
        ended = subprocess.run(
            wrapped(command, LANDLOCK), cwd=place.workspace.tmp_directory, env=environment(place),
            pass_fds=descriptors, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        said = json.loads(ours.recv(65536))

    assert ended.returncode == 3, ended.stderr
    assert said["event"] == "failed"
    assert "PORTAL_SANDBOX=require" in said["reason"]
    assert "/" not in said["reason"]


RUNNER = """
import dataclasses, io, os, sys
from inference.runner.config import RunnerConfig
config = dataclasses.replace(RunnerConfig.decode(sys.argv[3].encode()), owner_pid=os.getppid())
sys.stdin = io.TextIOWrapper(io.BytesIO(config.encode()))
sys.argv = ["runner", "--listen", sys.argv[1], "--status", sys.argv[2]]
from inference.runner.__main__ import main
main()
"""
