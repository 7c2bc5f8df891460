"""The page of the API is dark when the other pages are: as the system says, or the button."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import log_in

pytestmark = [pytest.mark.portal, pytest.mark.browser]
BACKGROUND = "e => getComputedStyle(e).backgroundColor"


def is_dark(page: Page, selector: str) -> bool:
    """Judged by the colour behind its words, which has to be opaque."""
    colour = str(page.locator(selector).first.evaluate(BACKGROUND))
    parts = [float(part) for part in colour.partition("(")[2].rstrip(")").split(",")]
    assert len(parts) == 3, colour
    return sum(parts) < 3 * 128


@pytest.mark.long
def test_it_is_as_dark_as_the_system_says_or_the_button(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.emulate_media(color_scheme="light")
    log_in(page, "/try/")
    page.goto("/api/docs/")
    expect(page.locator("#swagger-ui .opblock").first).to_be_visible()

    seen = [is_dark(page, "#swagger-ui")]
    for theme in ("dark", "light", "auto"):
        page.click(".theme-toggle >> visible=true")
        page.wait_for_selector(f"html[data-theme={theme}]", state="attached")
        seen.append(is_dark(page, "#swagger-ui"))
    page.emulate_media(color_scheme="dark")
    seen.append(is_dark(page, "#swagger-ui"))

    assert seen == [False, True, False, False, True]
