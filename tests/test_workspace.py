"""The folders of a process are gone after it, whatever it has made of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.workspace import Workspace, remove_workspaces_of_jobs
from tests.walled_in import ROOT, Place, run_in

NESTED = """
    for _ in range(1500):
        os.mkdir("inner")
        os.chdir("inner")
    Path("file").write_text("x")
"""
HIDDEN = """
    os.mkdir("no-list", 0o300)
    Path("no-list/file").write_text("x")
    os.mkdir("no-list/nothing", 0o000)
"""
MAKE = """
try:
    enter()
    {code}
    say("done")
except OSError as error:
    say(errno.errorcode[error.errno])
"""
REMOVE = """
import sys
from pathlib import Path
from inference.runner.sandbox import capabilities
from inference.workspace import Workspace
capabilities.drop_all()  # to root all folders are open
Workspace(Path(sys.argv[1])).remove()
"""


@pytest.mark.parametrize("code", [NESTED, HIDDEN], ids=["nested a thousand deep", "that may not be read"])
def test_folders_that_a_process_leaves_are_removed(tmp_path: Path, code: str) -> None:
    place = Place.beneath(tmp_path)

    assert run_in(place, MAKE.format(code=code), "auto") == "done"
    subprocess.run([sys.executable, "-c", REMOVE, str(place.workspace.root)], cwd=ROOT, check=True, timeout=60)

    assert not place.workspace.root.exists()
    assert (place.outside / "secret").exists() and (tmp_path / "source").exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True, mode=0o500)
    workspace = Workspace(tmp_path / "job-1")
    workspace.prepare_empty()
    for target in (kept, kept / "inner"):
        (workspace.tmp_directory / f"to-{target.name}").symlink_to(target)
    os.mkfifo(workspace.tmp_directory / "pipe")

    remove_workspaces_of_jobs(tmp_path)

    assert not workspace.root.exists()
    assert (kept / "inner").stat().st_mode & 0o777 == 0o500
