"""Lists and the wall ask the database as often for many rows as for few."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from models_app.choices import InstanceState
from tests.admin_rows import make_all_states, make_instance, make_node, make_superuser, make_version

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("address", "most"),
    [
        ("/admin/", 12),
        ("/admin/?fragment=wall", 12),
        ("/admin/models_app/modelversion/", 14),
        ("/api/models/", 10),
        ("/api/status/", 10),
    ],
)
def test_the_number_of_queries_does_not_grow_with_the_rows(address: str, most: int) -> None:
    make_node()
    make_all_states()
    client = Client()
    client.force_login(make_superuser())

    few = _queries(client, address)
    for number in range(30):
        version = make_version(f"more{number}")
        make_instance(version, InstanceState.READY if number % 2 else InstanceState.QUEUED)
    many = _queries(client, address)

    print(f"{address}: {few} queries")
    assert many == few
    assert few <= most


def _queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(address).status_code == 200
    return len(queries)
