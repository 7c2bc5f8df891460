"""`serve` and its children: one that cannot be started, two that will not stop, a web that does not answer."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.exceptions import ImproperlyConfigured

from portal import serve
from portal.child_process import Child
from portal.serve import Portal
from tests.running_portal import ROOT, RunningPortal, free_port, wait_for

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(60)
"""
GRACE_S = 1.0


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        if child.process is not None:
            child.process.kill()
            child.process.wait()


def test_a_child_that_the_system_refuses_is_tried_again(children: list[Child], tmp_path: Path) -> None:
    program = tmp_path / "program"
    child = Child("web", [str(program)], {}, GRACE_S)
    children.append(child)

    child.start()
    child.look()
    refused = child.process
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)

    def look() -> Any:
        child.look()
        return child.process

    assert refused is None
    assert wait_for(look, 20, "it is started").poll() is None


def test_children_that_do_not_stop_share_one_grace(children: list[Child], tmp_path: Path) -> None:
    signs = [tmp_path / str(number) for number in range(3)]
    children += [Child("cluster", [sys.executable, "-c", STUBBORN, str(sign)], {}, GRACE_S) for sign in signs]
    for child in children:
        child.start()
    wait_for(lambda: all(sign.exists() for sign in signs), 20, "none listens to SIGTERM")

    began = time.monotonic()
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.wait_or_kill()
    took = time.monotonic() - began

    print(f"three stubborn children ended in {took:.2f} s")
    assert [child.process and child.process.returncode for child in children] == [-signal.SIGKILL] * 3
    assert took < 2 * GRACE_S


@pytest.fixture
def announced(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """What a portal says whose web process does not answer, and that soon loses patience."""
    settings.PORTAL_HOST, settings.PORTAL_PORT = "127.0.0.1", free_port()
    monkeypatch.setattr(serve, "_SOON_READY_S", 0.1)
    portal = Portal(out=StringIO())
    thread = threading.Thread(target=portal._announce)
    thread.start()
    yield portal.out.getvalue
    portal.is_stopping = True
    thread.join(10)
    assert not thread.is_alive()
    assert portal.out.getvalue().count("is ready") <= 1


def test_a_portal_whose_web_does_not_answer_says_so_and_is_ready_once_it_does(
    announced: Callable[[], str], settings: Any
) -> None:
    wait_for(lambda: "does not answer" in announced(), 20, "it says what is not there")
    said = announced()
    with socket.create_server(("127.0.0.1", settings.PORTAL_PORT)):
        wait_for(lambda: "is ready" in announced(), 20, "it is ready")

    assert "is ready" not in said
    assert announced().count("does not answer") == 1


def test_a_port_has_one_holder_even_before_its_web_listens(settings: Any) -> None:
    settings.PORTAL_PORT = free_port()
    with serve._hold_port(), pytest.raises(serve.AlreadyRunning, match="is taken"), serve._hold_port():
        pass


def test_the_folder_of_the_sockets_is_kept_by_who_tidies_the_temp_directory(settings: Any, tmp_path: Path) -> None:
    """systemd-tmpfiles removes what was not used for days, but nothing that is locked."""
    settings.PORTAL_SOCKETS_DIR = tmp_path / "portal"
    with serve._socket_folder():
        tidying = os.open(settings.PORTAL_SOCKETS_DIR, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(tidying, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(tidying)

    assert not settings.PORTAL_SOCKETS_DIR.exists()


def test_a_lock_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "serve.lock").mkdir()

    ended = RunningPortal(tmp_path).manage("serve")

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{tmp_path / 'serve.lock'} cannot be used (Is a directory)")
    assert len(ended.stderr.splitlines()) == 1


def test_a_database_of_its_own_that_cannot_be_opened_is_no_matter_of_an_address(tmp_path: Path) -> None:
    """SQLite says the same where the disk is full."""
    (tmp_path / "portal.sqlite3").mkdir()

    ended = RunningPortal(tmp_path).manage("serve")

    assert ended.returncode == 1
    assert ended.stdout.endswith("unable to open database file. Look at the disk of PORTAL_DATA_DIR.\n")


def test_a_disk_without_locks_is_a_sentence(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system, for example."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    settings.PORTAL_DATA_DIR = tmp_path
    monkeypatch.setattr(fcntl, "flock", no_locks)

    with pytest.raises(ImproperlyConfigured, match=r"serve.lock cannot be used \(No locks available\)"):
        serve._hold_data_directory().__enter__()


def test_a_start_removes_uploads_that_were_cut_off_and_none_that_is_under_way(settings: Any, tmp_path: Path) -> None:
    """`manage.py import_model` runs beside it and holds no lock."""
    settings.PORTAL_UPLOADS_DIR, settings.PORTAL_SOCKETS_DIR = tmp_path / "uploads", tmp_path
    settings.PORTAL_UPLOADS_DIR.mkdir()
    with subprocess.Popen(["true"]) as ended:
        pass
    with subprocess.Popen(["sleep", "60"]) as importing:
        under_way = settings.PORTAL_UPLOADS_DIR / f"{importing.pid}-a.part"
        for name in (under_way.name, f"{ended.pid}-b.part", f"{os.getpid()}-of-this-pid-before.part", "strange.part"):
            (settings.PORTAL_UPLOADS_DIR / name).touch()

        serve._remove_sockets_and_part_files()

        left = list(settings.PORTAL_UPLOADS_DIR.iterdir())
        importing.kill()
    assert left == [under_way]


def test_children_keep_the_name_of_the_node_where_the_host_gets_another_one(tmp_path: Path) -> None:
    """Else a cluster that is started again would be another node's."""
    child = "subprocess.call(['unshare', '--uts', 'sh', '-c', 'hostname renamed && exec \"$@\"', '-', *shell, name])"
    name = "from django.conf import settings; print(settings.PORTAL_NODE)"
    code = f"import subprocess, sys; name = {name!r}; shell = [sys.executable, 'manage.py', 'shell', '-v0', '-c']"
    if subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False).returncode:
        pytest.skip("the name of the host cannot be changed here")

    shown = RunningPortal(tmp_path).manage("shell", "-v0", "-c", f"{code}; exec(name); {child}")

    assert shown.stderr == ""
    before, after = shown.stdout.split()
    assert before == after != "renamed"


def test_a_web_process_without_a_socket_is_a_sentence(tmp_path: Path) -> None:
    ended = RunningPortal(tmp_path).manage("run_web", "77")

    assert ended.returncode == 2
    assert ended.stderr == "77 is no socket (Bad file descriptor): `serve` starts this, with its own.\n"


def test_ctrl_c_while_it_is_imported_ends_it_in_silence(tmp_path: Path) -> None:
    """The tests may run in the background of a shell, which lets them ignore a Ctrl-C."""
    starting = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-v", "manage.py", "serve"],  # -v: a line on stderr an import
        cwd=ROOT,
        env=RunningPortal(tmp_path / "data").environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert starting.stderr is not None
    for line in starting.stderr:
        if line.startswith("import 'django.core.management'"):
            starting.send_signal(signal.SIGINT)
            break
    _, said = starting.communicate(timeout=60)

    assert starting.returncode == 130
    assert "Traceback" not in said


def started_by_a_shell(portal: RunningPortal, command: str) -> subprocess.Popen[str]:
    """`serve` stands for the portal in the command; its exit code is the shell's. The tests may run under `nohup`."""
    line = command.replace("serve", f"{sys.executable} manage.py serve")
    shell = subprocess.Popen(
        ["env", "--default-signal=HUP", "bash", "-o", "pipefail", "-c", line],
        cwd=ROOT,
        env=portal.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    portal._process = shell  # type: ignore[assignment]
    wait_for(portal._is_ready, 60, f"`{command}` is ready")
    return shell


def pid_of_serve(portal: RunningPortal) -> int:
    return int((portal.data_dir / "serve.lock").read_text())


def new_web_instead_of_a_killed_one(portal: RunningPortal) -> None:
    """It is started anew only by a `serve` that lives, and that told so in its log."""
    (before,) = portal.web()
    before.kill()
    wait_for(lambda: [web for web in portal.web() if web.pid != before.pid], 20, "a new web process")
    assert requests.get(f"{portal.url}/healthz", timeout=60).status_code == 200


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningPortal]:
    """A portal without models, not started yet."""
    portal = RunningPortal(tmp_path / "data", PORTAL_SLOTS="0", PORTAL_SAMPLE="0", PORTAL_WEB_WORKERS="1")
    yield portal
    if portal._process is not None:
        portal.kill_everything()


@pytest.mark.portal
@pytest.mark.parametrize(
    "command",
    [
        "serve 2>&1 | true",
        *(pytest.param(each, marks=pytest.mark.long) for each in ("serve <&- >&- 2>&-", "serve | true")),
    ],
)
def test_nobody_has_to_read_what_it_says(small: RunningPortal, command: str) -> None:
    shell = started_by_a_shell(small, command)

    new_web_instead_of_a_killed_one(small)
    os.kill(pid_of_serve(small), signal.SIGTERM)
    said, _ = shell.communicate(timeout=60)

    assert (shell.returncode, small.processes()) == (0, [])
    assert "Traceback" not in said and "Exception" not in said


@pytest.mark.portal
@pytest.mark.parametrize("number", [signal.SIGHUP, pytest.param(signal.SIGQUIT, marks=pytest.mark.long)])
def test_a_terminal_that_is_closed_stops_it_in_order(small: RunningPortal, number: signal.Signals) -> None:
    shell = started_by_a_shell(small, "exec serve")

    os.kill(pid_of_serve(small), number)
    said, _ = shell.communicate(timeout=60)

    assert (shell.returncode, small.processes()) == (0, [])
    assert said.endswith("The portal has stopped.\n")
    assert not (small.data_dir / "sockets").exists()


@pytest.mark.portal
def test_nohup_keeps_it_running(small: RunningPortal) -> None:
    shell = started_by_a_shell(small, "nohup serve")

    os.kill(pid_of_serve(small), signal.SIGHUP)
    new_web_instead_of_a_killed_one(small)
    os.kill(pid_of_serve(small), signal.SIGTERM)

    assert shell.wait(60) == 0
