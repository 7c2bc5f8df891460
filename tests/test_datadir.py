"""The data directory: its secret key is made once, whole, by whoever comes first; its folders are their owner's."""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal import datadir
from portal.datadir import read_or_create_secret_key
from tests.running_portal import RunningPortal


def test_all_who_start_at_once_read_the_same_key(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def start(_: int) -> str:
        datadir.make(folder)
        return read_or_create_secret_key(folder)

    with ThreadPoolExecutor(8) as starters:
        keys = set(starters.map(start, range(32)))

    assert keys == {(folder / "secret_key").read_text()}
    assert len(keys.pop()) > 60
    assert [path.name for path in folder.iterdir()] == ["secret_key"]
    assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_was_never_written_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "secret_key").touch()

    with pytest.raises(ImproperlyConfigured, match="secret_key is empty"):
        read_or_create_secret_key(tmp_path)


def test_a_key_that_is_no_text_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_bytes(b"\xff\xfe")

    with pytest.raises(ImproperlyConfigured, match="secret_key is no text"):
        read_or_create_secret_key(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").touch()

    with pytest.raises(ImproperlyConfigured, match=r"models cannot be used \(File exists\)"):
        datadir.make_private(tmp_path / "models")


def test_a_link_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "models").symlink_to(tmp_path / "disk")

    with pytest.raises(ImproperlyConfigured, match="models is a link"):
        datadir.make_private(tmp_path / "models")


def test_sockets_whose_names_would_be_too_long_anywhere_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start says it: else each load failed."""
    monkeypatch.setattr(tempfile, "tempdir", f"/{'t' * 50}")

    with pytest.raises(ImproperlyConfigured, match=r"and TMPDIR /t+: both are too long"):
        datadir.socket_directory(Path(f"/{'d' * 80}"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_root_does_not_start_the_portal_of_another_user(tmp_path: Path) -> None:
    store = tmp_path / "models"
    store.mkdir()
    shutil.chown(store, 54321)

    ended = RunningPortal(tmp_path).manage("serve")

    assert ended.returncode == 1
    assert ended.stderr == "Run this as the user 54321, to whom the data directory belongs.\n"
    assert not (tmp_path / "serve.lock").exists()
