"""What the registry promises holds on PostgreSQL too, where transactions overlap."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests import (
    test_deleted_meanwhile,
    test_jobs,
    test_long_jobs,
    test_nul_characters,
    test_overlaps,
    test_replacing,
    test_state_machine,
    test_supervise,
    test_taking_up,
    test_twins,
)
from tests.postgresql import postgresql, programs
from tests.running_portal import ROOT, RunningPortal, wait_for

pytestmark = pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (/usr/lib/postgresql)")

MODULES = (
    test_overlaps, test_state_machine, test_taking_up, test_replacing, test_deleted_meanwhile, test_long_jobs,
    test_jobs, test_supervise, test_twins, test_nul_characters,
)  # fmt: skip
"""Tests of rows that need no portal."""


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.mark.long
def test_rows_move_there_as_they_do_in_sqlite(database_url: str) -> None:
    files = [str(module.__file__) for module in MODULES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "DATABASE_URL": database_url}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)

    assert ended.returncode == 0, ended.stdout[-5000:]
    assert "passed" in ended.stdout and "skipped" not in ended.stdout.splitlines()[-1]


@pytest.mark.long
@pytest.mark.portal
def test_a_portal_loads_answers_and_unloads_there(
    database_url: str, new_portal: Callable[..., RunningPortal], digit: Callable[[str], bytes], tmp_path: Path
) -> None:
    portal = new_portal(DATABASE_URL=database_url)
    api = portal.client()
    api.checked("digits")
    api.load("digits")

    assert api.ask("digits", digit("seven")).json()["predictions"][0]["top"][0]["label"] == "7"

    other = RunningPortal(tmp_path, DATABASE_URL=database_url, PORTAL_NODE="elsewhere").manage("serve")
    assert (other.returncode, "already, on " in other.stdout) == (3, True), other.stdout
    assert api.ask("digits", digit("seven")).status_code == 200
    assert [node["name"] for node in api.get("/api/status/").json()["nodes"]] != ["elsewhere"]

    portal.stop()
    portal.start()
    wait_for(lambda: api.version("digits")["state"] == "loaded", 60, "what was loaded is loaded again")
    assert api.ask("digits", digit("two")).json()["predictions"][0]["top"][0]["label"] == "2"
    receipt = api.unload("digits")
    assert receipt["process_exited"] is True and portal.runners() == []


def test_a_role_that_may_make_no_tables_is_a_sentence(database_url: str, tmp_path: Path) -> None:
    with psycopg.connect(database_url, autocommit=True) as server:
        server.execute("CREATE ROLE guest LOGIN")
        server.execute("CREATE DATABASE visited")

    guests = database_url.replace("portal@", "guest@").replace("/postgres", "/visited")
    ended = RunningPortal(tmp_path, DATABASE_URL=guests).manage("serve")

    assert ended.returncode == 1
    assert "permission denied" in ended.stdout and "Look at DATABASE_URL" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.portal
def test_a_portal_whose_connections_were_all_cut_off_goes_on(
    database_url: str, new_portal: Callable[..., RunningPortal], digit: Callable[[str], bytes]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as server:
        server.execute("CREATE DATABASE cut_off")
        portal = new_portal(DATABASE_URL=database_url.replace("/postgres", "/cut_off"))
        api = portal.client()
        api.checked("digits")
        api.load("digits")
        pid = api.pid("digits")

        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut_off'")
        cut_off = datetime.now(UTC)

    def are_seen() -> bool:
        [node] = api.get("/api/status/").json()["nodes"]
        return datetime.fromisoformat(node["last_seen"]) > cut_off + timedelta(seconds=1)

    wait_for(are_seen, 30, "the models cluster reports again")
    assert api.ask("digits", digit("seven")).status_code == 200
    wait_for(lambda: api.version("digits")["instances"][0]["requests"], 30, "its figures are written again")
    assert api.pid("digits") == pid
    assert portal.log().count("the beat of the cluster failed") == 0
