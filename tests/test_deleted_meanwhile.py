"""What is deleted while something is asked of it is not found: no error of the portal's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models_app.api.errors import as_portal_error
from models_app.models import ModelVersion
from models_app.services.change import change_version
from models_app.services.delete import delete_version
from models_app.services.load import load
from models_app.services.trust import trust
from tests.registry import make_user, make_version


@pytest.mark.django_db
@pytest.mark.parametrize(
    "verb",
    [
        lambda version, by: load(version, by=by),
        lambda version, by: change_version(version, {"labels": ["a", "b", "c"]}, by=by),
        lambda version, by: trust(version, "I made it.", by=by),
    ],
    ids=["load", "change", "trust"],
)
def test_a_version_that_was_found_and_then_deleted_is_not_found(verb: Callable[..., Any]) -> None:
    version, user = make_version(), make_user()
    delete_version(ModelVersion.objects.get(pk=version.pk), by=user)

    with pytest.raises(Exception) as raised:
        verb(version, user)

    error = as_portal_error(raised.value)
    assert error is not None
    assert (error.status, error.code) == (404, "not_found")
