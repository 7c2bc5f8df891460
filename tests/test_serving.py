"""`manage.py serve`: one on the same data, no engine in web or clusters, the secrets stay with their owner."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import psutil
import pytest

from portal.datadir import socket_directory
from tests.running_portal import ROOT, Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

ENGINES = ("tensorflow", "keras", "openvino", "onnxruntime", "litert")


def test_a_second_serve_on_the_same_data_exits_3_and_harms_nothing(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes]
) -> None:
    api.load("digits")
    pid = api.pid("digits")

    second = portal.manage("serve")

    assert second.returncode == 3
    assert f"already running, pid {portal.pid}" in second.stdout + second.stderr
    assert api.pid("digits") == pid
    assert api.ask("digits", digit("two")).status_code == 200
    api.unload("digits")


def test_a_taken_port_exits_3_before_anything_is_touched(portal: RunningPortal, tmp_path: Path) -> None:
    other = RunningPortal(tmp_path / "other")
    other.port = portal.port

    second = other.manage("serve")

    assert second.returncode == 3
    assert "PORTAL_PORT" in second.stdout + second.stderr
    assert not (tmp_path / "other" / "portal.sqlite3").exists()


def test_no_engine_is_mapped_in_web_or_clusters(portal: RunningPortal, api: Api, digit: Callable[[str], bytes]) -> None:
    api.load("digits")
    assert api.ask("digits", digit("two")).status_code == 200
    runners = {process.pid for process in portal.runners()}
    loaded = [instance for version in api.get("/api/status/").json()["loaded"] for instance in version["instances"]]
    of_tensorflow = {one["pid"] for one in loaded if (one["engine"], one["state"]) == ("tensorflow", "ready")}

    mapped = {p.pid: _engines_in(p) for p in portal.processes()}

    runners |= {process.pid for process in portal.runners()}  # another test's may begin or end meanwhile
    assert of_tensorflow
    assert all("tensorflow" in mapped[pid] for pid in of_tensorflow), "the control: a runner has it"
    assert {pid: found for pid, found in mapped.items() if found and pid not in runners} == {}
    assert len(mapped) > 10
    api.unload("digits")


def test_what_a_runner_imports_is_compiled_before(portal: RunningPortal) -> None:
    sources = [*(ROOT / "inference").rglob("*.py")]

    assert [str(path) for path in sources if not Path(cache_from_source(str(path))).exists()] == []
    assert len(sources) > 50


def test_a_runner_knows_no_secret(portal: RunningPortal, api: Api) -> None:
    api.load("digits")
    secret = (portal.data_dir / "secret_key").read_text()
    [runner] = [process for process in portal.runners() if process.pid == api.pid("digits")]

    environment = runner.environ()
    open_paths = [file.path for file in runner.open_files()]

    assert secret not in "".join(environment.values())
    assert not [name for name in environment if name.startswith(("PORTAL_", "DJANGO_", "DATABASE"))]
    assert not [path for path in open_paths if "portal.sqlite3" in path]
    assert "django" not in Path(f"/proc/{runner.pid}/maps").read_text().lower()
    assert os.getpgid(runner.pid) == runner.pid
    api.unload("digits")


def test_only_the_owner_can_read_what_is_secret(portal: RunningPortal) -> None:
    modes = {
        name: stat.S_IMODE((portal.data_dir / name).stat().st_mode)
        for name in ("secret_key", "portal.sqlite3", "portal.sqlite3-wal", "sockets", "models", "run")
    }

    assert modes == {
        "secret_key": 0o600, "portal.sqlite3": 0o600, "portal.sqlite3-wal": 0o600, "sockets": 0o700, "models": 0o700,
        "run": 0o700,
    }  # fmt: skip


def test_a_job_that_is_cut_off_by_a_stop_leaves_no_files(new_portal: Callable[..., RunningPortal]) -> None:
    portal = new_portal()
    folder = portal.data_dir / "run"
    wait_for(lambda: list(folder.glob("job-*/tmp")), 60, "the sample is being checked")

    portal.stop()

    assert list(folder.iterdir()) == []


def test_a_setting_that_is_hardly_meant_is_said_once_at_a_start(new_portal: Callable[..., RunningPortal]) -> None:
    portal = new_portal(PORTAL_IMPORT_DIR="/nonexistent", PORTAL_SAMPLE="0")

    assert portal.log().count("portal.W003") == 1


@pytest.mark.long
def test_a_deep_data_directory_still_has_room_for_its_sockets(
    new_portal: Callable[..., RunningPortal], tmp_path: Path, digit: Callable[[str], bytes]
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    portal = new_portal(PORTAL_DATA_DIR=str(deep / "data"))
    portal.data_dir = deep / "data"
    sockets = socket_directory(portal.data_dir)
    api = portal.client()
    api.checked("digits")

    api.load("digits")

    assert api.ask("digits", digit("two")).status_code == 200
    api.unload("digits")
    assert sockets.is_dir() and portal.data_dir not in sockets.parents
    portal.stop()
    assert not sockets.exists()


def _engines_in(process: psutil.Process) -> set[str]:
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return set()
    return {name for name in ENGINES if f"/{name}" in maps or f"lib{name}" in maps}
