"""A file that is checked again is understood anew: nothing that was made of it, or found out about it, stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_app.services import files
from models_app.services.convert import forget_conversions
from tests.registry import make_version


@pytest.mark.django_db(transaction=True)
def test_nothing_that_was_made_of_the_file_stays_beside_it(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_FILES_DIR = tmp_path
    version = make_version(format="frozen_graph")
    made = version.directory / "converted" / "openvino", files.compiled_directory(version) / "tuned.json"
    for path in (version.path, *made):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    forget_conversions(version)

    assert [path for path in version.directory.rglob("*") if path.is_file()] == [version.path]
