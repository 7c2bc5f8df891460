"""Pages that others wrote lead back into the portal, and hold nothing inline, which the policy would block."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.admin_client import client_with, text_of


@pytest.mark.django_db
def test_the_password_page_has_the_links_of_all_pages() -> None:
    text = text_of(client_with().get("/admin/password_change/"))

    assert 'class="userlinks"' in text
    assert 'action="/logout/"' in text


def test_the_page_of_the_api_leads_back_and_has_no_inline_style(client: Client) -> None:
    text = text_of(client.get("/api/docs/"))

    assert '<html lang="en"' in text and '<a href="/try/">Try</a>' in text
    assert "Log out" not in text
    assert "<style" not in text
    assert "portal/docs.css" in text and "portal/docs.js" in text
    assert "swagger-ui-bundle.js" in text


def test_the_page_of_the_api_leads_to_the_document_where_no_script_runs(client: Client) -> None:
    without_script = text_of(client.get("/api/docs/")).partition("<noscript>")[2].partition("</noscript>")[0]

    assert "This page needs JavaScript." in without_script and 'href="/api/schema/"' in without_script


@pytest.mark.django_db
def test_the_page_of_the_api_has_the_links_of_all_pages() -> None:
    text = text_of(client_with().get("/api/docs/"))

    assert 'class="userlinks"' in text and '<a href="/admin/">Wall</a>' in text
    assert '<a href="/api/docs/" aria-current="page">API</a>' in text
