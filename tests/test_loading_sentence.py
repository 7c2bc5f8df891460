"""What the pages say of a version that is being loaded."""

from __future__ import annotations

import pytest

from models_app.choices import InstanceState
from models_app.models import Instance
from models_app.pages.version_row import version_row
from models_app.rights import Rights
from models_app.services import find
from tests.registry import make_version

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("detail", "begin"),
    [("", "Loading for 0."), ("It is converted for litert first.", "It is converted for litert first. Loading for 0.")],
)
def test_what_a_load_waits_for_stands_before_its_time(detail: str, begin: str) -> None:
    make_version("digits", InstanceState.LOADING, last_load_seconds=2.0)
    Instance.objects.update(state_detail=detail)

    sentence = version_row(find.find_version("digits", 1), Rights()).state_detail

    assert sentence.startswith(begin) and sentence.endswith("; last time it took 2.0 s.")
