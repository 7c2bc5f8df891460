"""What an engine compiled is kept for the next load; what else lies in a runner's folder is not."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.owner.compiled import MOST_FILES, lend_compiled, take_compiled
from tests.conftest import SAMPLE
from tests.engine_fixtures import converted
from tests.running_portal import Api, RunningPortal, wait_for


@pytest.fixture
def lent(tmp_path: Path) -> Path:
    folder = tmp_path / "lent"
    folder.mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_what_is_kept_is_lent_as_copies(tmp_path: Path, lent: Path) -> None:
    (lent / "1.blob").write_bytes(b"compiled")
    take_compiled(lent, tmp_path / "kept", 100)

    lend_compiled(tmp_path / "kept", tmp_path / "next")
    (tmp_path / "next" / "1.blob").write_bytes(b"changed by the next runner")

    assert (tmp_path / "kept" / "1.blob").read_bytes() == b"compiled"
    assert names(tmp_path / "kept") == {"1.blob"}


def test_links_pipes_and_odd_names_are_left_where_they_are(tmp_path: Path, lent: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    (lent / "symbolic").symlink_to(secret)
    os.link(secret, lent / "hard")
    os.mkfifo(lent / "pipe")
    (lent / ".hidden").write_text("x")
    (lent / "a name").write_text("x")
    (lent / "folder").mkdir()
    (lent / "1.blob").write_text("compiled")

    take_compiled(lent, tmp_path / "kept", 10**6)

    assert names(tmp_path / "kept") <= {"1.blob"}
    assert not any("secret" in path.read_text() for path in (tmp_path / "kept").iterdir())


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path, lent: Path) -> None:
    (lent / "1.blob").write_text("not the runner's")
    (tmp_path / "link").symlink_to(lent)

    take_compiled(tmp_path / "link", tmp_path / "kept", 10**6)

    assert names(tmp_path / "kept") == set()


def test_too_much_is_not_kept(tmp_path: Path, lent: Path) -> None:
    (lent / "1.blob").write_bytes(b"x" * 101)

    take_compiled(lent, tmp_path / "kept", 100)

    assert names(tmp_path / "kept") == set()


def test_files_of_earlier_engines_make_place(tmp_path: Path, lent: Path) -> None:
    for number in range(MOST_FILES):
        (lent / f"old{number}").write_text("x")
    take_compiled(lent, tmp_path / "kept", 10**6)
    for path in lent.iterdir():
        path.unlink()
    (lent / "new").write_text("x")

    take_compiled(lent, tmp_path / "kept", 10**6)

    assert names(tmp_path / "kept") == {"new"}


def test_a_runner_finds_nothing_where_nothing_was_kept(tmp_path: Path) -> None:
    lend_compiled(tmp_path / "never", tmp_path / "lent")

    assert names(tmp_path / "lent") == set()


@pytest.mark.portal
def test_the_second_load_finds_what_the_first_one_compiled(
    portal: RunningPortal, api: Api, digit: Callable[[str], bytes], tmp_path: Path
) -> None:
    source = converted(tmp_path, SAMPLE, "keras", "openvino").path
    assert zipfile.is_zipfile(source)
    before = {*portal.data_dir.glob("models/*/compiled/*.blob")}
    api.upload("compiled", source, engine="openvino", preprocessing='{"preset":"unit"}')

    loads = [api.load("compiled")["instances"][0]["load_seconds"]]
    [blob] = wait_for(lambda: {*portal.data_dir.glob("models/*/compiled/*.blob")} - before, 20, "it is kept")
    written_at = blob.stat().st_mtime_ns
    api.unload("compiled")
    loads.append(api.load("compiled")["instances"][0]["load_seconds"])
    label = api.ask("compiled", digit("two")).json()["predictions"][0]["top"][0]["label"]
    api.delete("/api/models/compiled/", params={"unload": "true"})

    print(f"digits in OpenVINO: ready after {loads[0]:.2f} s, then {loads[1]:.2f} s")
    assert (label, blob.exists()) == ("2", False)
    assert written_at > 0
