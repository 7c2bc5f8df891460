"""What somebody calls a file is a label that can be sent back, whatever stood in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_app.services import files, upload
from tests.admin_client import client_with

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("model.keras\n", "model.keras"),
        ("mo\x00del\r\n\x7f\x85.keras", "model.keras"),
        ("two\u2028lines.keras", "twolines.keras"),
        ("half a pair \ud800.keras", "half a pair .keras"),
        ("größer 日本 👍.keras", "größer 日本 👍.keras"),
        ("\n", "model"),
    ],
    ids=["newline", "control characters", "separator", "surrogate", "letters of others", "nothing else"],
)
def test_a_file_of_any_name_can_be_downloaded(settings: Any, tmp_path: Path, sent: str, kept: str) -> None:
    settings.PORTAL_FILES_DIR, settings.PORTAL_UPLOADS_DIR = tmp_path / "files", tmp_path / "uploads"
    received = files.receive_bytes(b"no model", sent)

    version = upload.create_model("named", received, upload.VersionSettings(), by=None)

    assert version.file_name == kept
    answer = client_with("view").get(f"/admin/models_app/modelversion/{version.pk}/file/")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename")
