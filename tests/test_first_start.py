"""The first start on a disk that has no room for the sample."""

from __future__ import annotations

from typing import Any

import pytest

from models_app.models import RegisteredModel
from models_app.services import files
from portal import first_start


@pytest.mark.django_db
def test_a_sample_that_does_not_fit_is_a_sentence_and_comes_with_a_later_start(
    settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_FILES_DIR, settings.PORTAL_UPLOADS_DIR = tmp_path / "models", tmp_path / "uploads"
    settings.PORTAL_FILES_DIR.mkdir()
    with monkeypatch.context() as small:
        small.setattr(files, "DISK_RESERVE_BYTES", 2**60)
        said = list(first_start.prepare())
        missing = not RegisteredModel.objects.exists()

    list(first_start.prepare())

    assert missing
    assert said[-1].startswith("The sample was not registered: To take this file, the disk must have ")
    assert RegisteredModel.objects.get().name == "digits"
