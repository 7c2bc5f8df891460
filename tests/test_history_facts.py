"""What pages read out of the history stands there as data: the sentences may be worded anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from models_app.models import ModelVersion
from models_app.pages.events import history_events
from models_app.services import choose, files, find, upload
from models_app.services.change import change_version
from tests.admin_rows import make_version

pytestmark = pytest.mark.django_db


def history(version: ModelVersion) -> list[tuple[str, dict[str, Any], str]]:
    """Reason, facts and what the page says, newest first."""
    rows = list(find.history(version))
    events = history_events(rows, timezone.now())
    return [(row.reason, row.facts, event.text) for row, event in zip(rows, events, strict=True)]


def test_the_size_of_an_upload(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_FILES_DIR, settings.PORTAL_UPLOADS_DIR = tmp_path / "files", tmp_path / "uploads"
    received = files.receive_bytes(bytes(62_000), "zeros")

    version = upload.create_model("zeros", received, upload.VersionSettings(), by=None)

    assert history(version) == [("Uploaded, 62000 bytes.", {"size_bytes": 62_000}, "Uploaded, 62 KB.")]


def test_the_names_of_what_was_changed() -> None:
    version = make_version()

    change_version(version, {"labels": ["x", "y", "z"], "postprocessing": {"top": 2}}, by=None)
    choose.use_engine(version, "openvino", "bf16", by=None)

    assert history(version) == [
        (
            "Changed: openvino bf16 from the next load.",
            {"changed": ["engine", "precision"]},
            "Changed: openvino bf16 from the next load.",
        ),
        (
            "Changed: labels, postprocessing.",
            {"changed": ["labels", "postprocessing"]},
            "Changed: labels, scores.",
        ),
    ]
