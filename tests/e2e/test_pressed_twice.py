"""A double click on a slow line: what is sent is sent once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route

from tests.e2e.conftest import log_in

pytestmark = [pytest.mark.portal, pytest.mark.browser]
KEYS = "/admin/models_app/apikey/"


def test_a_form_that_is_pressed_twice_is_sent_once(open_page: Callable[..., Page]) -> None:
    page = open_page()
    sent: list[str] = []

    def send_slowly(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.url)
            page.wait_for_timeout(500)
        route.continue_()

    log_in(page, "/admin/")
    page.goto(f"{KEYS}add/")
    page.fill("#id_name", "pressed twice")
    page.route(f"**{KEYS}add/", send_slowly)
    page.locator("[name=_save]").evaluate("(b) => { for (const ms of [0, 150]) setTimeout(() => b.click(), ms); }")
    page.wait_for_url(f"**{KEYS}")

    assert len(sent) == 1
    assert page.locator("#result_list tr:has-text('pressed twice')").count() == 1
