"""Pages used with the keyboard: the focus can be seen, and stays where it is while parts of the page are replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import PICTURES, log_in, look_again, winners
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
VERSIONS = "/admin/models_app/modelversion/"
RATIO = """(element) => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ring = light(getComputedStyle(element).outlineColor);
    const ground = light(getComputedStyle(document.getElementById("header")).backgroundColor);
    return (Math.max(ring, ground) + 0.05) / (Math.min(ring, ground) + 0.05);
}"""


def say_more_about(page: Page, words: str) -> None:
    """From now on the polled parts say more than they do, and so are replaced."""

    def more(route: Route) -> None:
        answer = route.fetch(headers={**route.request.headers, "if-none-match": ""})
        route.fulfill(response=answer, body=answer.text().replace(words, f"{words} now"))

    page.route("**fragment=*", more)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_is_seen_in_the_header(open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    log_in(page, "/admin/")

    for selector in (".mainnav a >> nth=0", "#logout-form button", ".theme-toggle"):
        page.locator(selector).focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert page.locator(selector).evaluate(RATIO) >= 3, selector


def test_the_focus_stays_on_the_same_one_of_several_links_to_a_page(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    portal.client("manage").load(digits_copy)
    page = open_page()
    log_in(page, "/admin/")
    link = page.locator(f".rows .who a:has-text('{digits_copy}')")
    link.focus()

    say_more_about(page, "Slots on")
    look_again(page)

    expect(page.locator("#h-slots")).to_contain_text("Slots on now")
    expect(link).to_be_focused()


def test_what_is_read_with_the_keyboard_stays_where_it_was_scrolled_to(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    portal.client("manage").load(digits_copy)
    page = open_page(width=800)
    log_in(page, "/try/")
    page.goto(f"{VERSIONS}open/{digits_copy}/1/")
    log = page.locator("pre.log")
    log.focus()
    log.evaluate("(log) => log.scrollTo(60, 0)")

    say_more_about(page, "What goes in, what comes out")
    look_again(page)

    expect(page.locator("#state")).to_contain_text("What goes in, what comes out now")
    expect(log).to_be_focused()
    assert log.evaluate("(log) => log.scrollLeft") == 60


def test_the_button_that_asked_has_the_focus_after_the_answer(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    portal.client("manage").load(digits_copy)
    page = open_page()
    log_in(page, f"/try/{digits_copy}/")
    page.set_input_files("#id_image", PICTURES / "seven.png")
    page.locator("#ask-button").focus()

    page.keyboard.press("Enter")

    assert winners(page) == ["7"]
    expect(page.locator("#ask-button")).to_be_focused()
