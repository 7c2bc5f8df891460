"""Pages that others wrote lead back into the portal, and hold nothing inline, which the policy would block."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.admin_client import client_with, text_of


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/admin/password_change/", "/admin/password_change/done/"])
def test_the_password_pages_have_the_links_of_all_pages(address: str) -> None:
    text = text_of(client_with().get(address))

    assert 'class="userlinks"' in text
    assert 'action="/logout/"' in text


def test_the_page_of_the_api_leads_back_and_has_no_inline_style(client: Client) -> None:
    text = text_of(client.get("/api/docs/"))

    assert '<a href="/">Model portal</a>' in text
    assert "<style" not in text
    assert "portal/docs.css" in text
    assert "swagger-ui-bundle.js" in text
