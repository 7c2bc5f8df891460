"""`make` installs what a new version needs, and nothing at a second start."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.running_portal import ROOT

LOCK = ("requirements.txt", "requirements-gpu.txt", "requirements-dev.txt", "constraints.txt")


def would_install(folder: Path) -> bool:
    ended = subprocess.run(
        ["make", "-n", "run"], cwd=folder, capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert "manage.py serve" in ended.stdout
    return "pip install" in ended.stdout


def test_files_of_an_archive_are_installed_though_they_are_older_than_what_is_there(tmp_path: Path) -> None:
    for name in ("Makefile", *LOCK):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "pip").touch()
    (tmp_path / ".venv" / "made-from").write_text("".join((ROOT / name).read_text("utf-8") for name in LOCK), "utf-8")
    (tmp_path / ".venv" / ".installed-run").touch()
    for name in LOCK:
        os.utime(tmp_path / name, (0, 0))
    as_it_was = would_install(tmp_path)

    with (tmp_path / "constraints.txt").open("a") as file:
        file.write("more==1\n")
    os.utime(tmp_path / "constraints.txt", (0, 0))

    assert (as_it_was, would_install(tmp_path)) == (False, True)
