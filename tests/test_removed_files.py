"""The store of uploaded files: what cannot be removed from it is told, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_app.services import files


@pytest.fixture(autouse=True)
def store(settings: Any, tmp_path: Path) -> Path:
    settings.PORTAL_FILES_DIR = tmp_path
    return tmp_path


def test_a_folder_that_is_removed_or_was_never_there_is_not_told(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    (store / "key" / "compiled").mkdir(parents=True)

    files.remove("key")
    files.remove("key")

    assert not (store / "key").exists()
    assert caplog.messages == []


def test_what_cannot_be_removed_is_told(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    (store / "key").touch()  # no folder, so this fails for root too

    files.remove("key")

    assert caplog.messages == ["the folder key of the store could not be removed"]
