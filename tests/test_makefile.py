"""`make` installs what a new version needs, and nothing at a second start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running_portal import ROOT

LOCK = ("requirements.txt", "requirements-gpu.txt", "requirements-dev.txt", "constraints.txt")


def would_install(folder: Path) -> bool:
    ended = subprocess.run(
        ["make", "-n", "run"], cwd=folder, capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert "manage.py serve" in ended.stdout
    return "pip install" in ended.stdout


@pytest.mark.parametrize(
    ("version", "is_taken"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)]
)
def test_a_python_for_which_there_is_no_tensorflow_is_refused(
    tmp_path: Path, version: tuple[int, int], is_taken: bool
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "import sys; sys.version_info = {version}; $2"\n'
    )
    python.chmod(0o700)
    shutil.copy(ROOT / "Makefile", tmp_path)

    ended = subprocess.run(
        ["make", f"PYTHON={python}", ".venv/bin/pip"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ("-m venv" in ended.stdout, "needs Python 3.11, 3.12 or 3.13" in ended.stderr) == (is_taken, not is_taken)


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
