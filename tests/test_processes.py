"""Processes are named so that a reused pid is never taken for them, and ended in steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from inference.host.processes import (
    ProcessIdentity,
    end_group,
    identify,
    is_alive,
    memory_bytes,
    scrubbed_environment,
)

ROOT = Path(__file__).parent.parent
DEADLINE_S = 15.0

IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
LEADS_A_CHILD_THAT_IGNORES_SIGTERM = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {IGNORES_SIGTERM!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
INHERITS_AN_ORPHAN = """
import ctypes, os, subprocess, time
from inference.host.processes import reap_orphans
PR_SET_CHILD_SUBREAPER = 36  # what the first process of a container is
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
own = subprocess.Popen(["sh", "-c", "read line; exit 7"], stdin=subprocess.PIPE)
orphan = int(subprocess.check_output(["sh", "-c", "sleep 0.1 >&- & echo $!"]))
until = time.monotonic() + 15
while os.path.exists(f"/proc/{orphan}"):
    assert time.monotonic() < until
    reap_orphans([own.pid])
    time.sleep(0.01)
own.stdin.close()
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
reap_orphans([own.pid])
print(own.wait(), flush=True)
"""
DIES_WITH_ITS_PARENT = """
import os, time
from inference.host.processes import die_with_parent
die_with_parent(os.getppid())
print("guarded", flush=True)
time.sleep(60)
"""
STARTS_A_GUARDED_CHILD = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DIES_WITH_ITS_PARENT!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def started(*command: str, own_group: bool = False) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=own_group)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    with started("sleep", "60") as child:
        yield child


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def identity_of(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity


def happens(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_process_is_alive_until_it_ends(sleeper: subprocess.Popen[str]) -> None:
    identity = identity_of(sleeper.pid)

    assert is_alive(identity)
    assert identify(sleeper.pid) == identity

    sleeper.kill()
    sleeper.wait()

    assert not is_alive(identity)
    assert identify(sleeper.pid) is None


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[str]) -> None:
    identity = identity_of(sleeper.pid)

    sleeper.kill()

    assert happens(lambda: not is_alive(identity))
    assert identify(sleeper.pid) == identity
    assert memory_bytes(sleeper.pid) is None


def test_a_name_with_brackets_and_spaces_is_read(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")

    with started(str(program), "60") as child:
        assert happens(lambda: b"a) S 1" in Path(f"/proc/{child.pid}/comm").read_bytes())
        before = identity_of(os.getpid())

        assert identity_of(child.pid).started_at >= before.started_at


@pytest.mark.parametrize(
    "as_it_was_before",
    [lambda identity: replace(identity, started_at=1), lambda identity: replace(identity, boot_id="another boot")],
    ids=["another start", "another boot"],
)
def test_a_reused_pid_is_neither_alive_nor_ended(
    sleeper: subprocess.Popen[str], as_it_was_before: Callable[[ProcessIdentity], ProcessIdentity]
) -> None:
    stranger = as_it_was_before(identity_of(sleeper.pid))

    end_group(stranger, grace_s=0)

    assert not is_alive(stranger)
    assert is_alive(identity_of(sleeper.pid))


def test_ending_a_process_that_is_gone_does_nothing(sleeper: subprocess.Popen[str]) -> None:
    identity = identity_of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()

    end_group(identity, grace_s=0)


def test_a_group_ends_with_the_children_that_ignore_sigterm() -> None:
    with started(sys.executable, "-c", LEADS_A_CHILD_THAT_IGNORES_SIGTERM, own_group=True) as leader:
        child = identity_of(int(first_line(leader)))

        end_group(identity_of(leader.pid), grace_s=DEADLINE_S)

        assert leader.wait(DEADLINE_S) == -signal.SIGTERM
        assert happens(lambda: not is_alive(child))


def test_a_process_that_leads_no_group_does_not_take_ours_with_it(sleeper: subprocess.Popen[str]) -> None:
    end_group(identity_of(sleeper.pid), grace_s=0)

    assert is_alive(identity_of(sleeper.pid))


def test_a_guarded_process_is_gone_soon_after_its_parent_is_killed() -> None:
    with started(sys.executable, "-c", STARTS_A_GUARDED_CHILD) as parent:
        child = identity_of(int(first_line(parent)))
        assert is_alive(child)

        parent.kill()

        assert happens(lambda: not is_alive(child))


def test_a_process_whose_parent_is_gone_already_exits_at_once() -> None:
    not_my_parent = (
        "import os; from inference.host.processes import die_with_parent; die_with_parent(os.getpid()); print('on')"
    )

    ended = subprocess.run([sys.executable, "-c", not_my_parent], cwd=ROOT, capture_output=True, timeout=DEADLINE_S)

    assert (ended.returncode, ended.stdout) == (1, b"")


def test_an_inherited_process_is_reaped_and_an_own_one_keeps_its_exit_code() -> None:
    with started(sys.executable, "-c", INHERITS_AN_ORPHAN) as child:
        assert first_line(child) == "7"


def test_memory_grows_with_what_a_process_holds() -> None:
    hold = "held = bytearray(64 * 2**20); print('held', flush=True); import time; time.sleep(60)"

    with started(sys.executable, "-c", hold) as child:
        first_line(child)

        memory = memory_bytes(child.pid)

    assert memory is not None
    assert 64 * 2**20 < memory < 200 * 2**20


def test_a_pid_that_nobody_has_takes_no_memory(sleeper: subprocess.Popen[str]) -> None:
    sleeper.kill()
    sleeper.wait()

    assert memory_bytes(sleeper.pid) is None


def test_a_runner_inherits_tuning_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "TZ", "OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "OV_CACHE"):
        monkeypatch.setenv(name, "kept")
    secrets = (
        "PORTAL_SECRET_KEY",
        "PORTAL_HOST",
        "DATABASE_URL",
        "REDIS_URL",
        "DJANGO_SETTINGS_MODULE",
        "TF_API_TOKEN",
    )
    for name in (*secrets, "CUDA_LICENSE_KEY", "OMP_PASSWORD", "AWS_SESSION", "HTTPS_PROXY", "LD_PRELOAD"):
        monkeypatch.setenv(name, "dropped")

    environment = scrubbed_environment({"HOME": "/nowhere", "CUDA_VISIBLE_DEVICES": "-1"})

    assert environment["PATH"] == environment["TF_CPP_MIN_LOG_LEVEL"] == environment["OV_CACHE"] == "kept"
    assert environment["CUDA_VISIBLE_DEVICES"] == "-1"
    assert environment["HOME"] == "/nowhere"
    assert "dropped" not in environment.values()


def test_a_runner_has_one_thread_of_numpy_unless_somebody_wants_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    alone = scrubbed_environment({})
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")

    assert alone["OPENBLAS_NUM_THREADS"] == "1"
    assert scrubbed_environment({})["OPENBLAS_NUM_THREADS"] == "3"


def test_the_home_of_the_portal_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/operator")

    assert "HOME" not in scrubbed_environment({})


@pytest.mark.parametrize("name", ["PORTAL_DATA_DIR", "DATABASE_URL", "my_secret"])
def test_a_secret_cannot_be_handed_to_a_runner(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        scrubbed_environment({name: "x"})
