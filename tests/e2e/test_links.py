"""Links are told from the words around them by more than their colour."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import log_in

pytestmark = [pytest.mark.portal, pytest.mark.browser]
NOT_UNDERLINED = """(links) => links
    .filter((link) => getComputedStyle(link).textDecorationLine !== "underline").map((link) => link.textContent)"""
COLOURS = "(link) => [getComputedStyle(link).color, getComputedStyle(link.closest('li')).color]"


def test_links_in_sentences_are_underlined_and_in_messages_as_dark_as_the_text(
    open_page: Callable[..., Page], digits_copy: str
) -> None:
    page = open_page()
    log_in(page, "/admin/")
    page.goto(f"/admin/models_app/modelversion/open/{digits_copy}/1/")

    links = page.locator(".breadcrumbs a, #content p a:not(.btn)")
    assert links.count() >= 4
    assert links.evaluate_all(NOT_UNDERLINED) == []

    page.click("#head a:has-text('Delete')")
    page.click("#content button:has-text('Delete')")
    told = page.locator(f".messagelist a:has-text('Delete {digits_copy} too')")

    assert told.evaluate_all(NOT_UNDERLINED) == []
    link, text = told.evaluate(COLOURS)
    assert link == text
