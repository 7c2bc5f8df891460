"""The list of versions in a browser: what leaves it while it is looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import log_in, look_again
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
LIST = "/admin/models_app/modelversion/"


def test_a_row_that_left_the_filter_has_nothing_to_press_and_comes_back(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    api = portal.client("manage")
    api.load(digits_copy)
    page = open_page()
    log_in(page, f"{LIST}?state=loaded")
    row = page.locator(f"#result_list tbody tr:has-text('{digits_copy}')")
    row.locator("input.action-select").check()
    row.locator("button:has-text('Unload')").focus()
    slots = page.inner_text("#slots-line")

    api.unload(digits_copy)
    look_again(page)

    expect(page.locator("#slots-line")).not_to_have_text(slots)
    expect(row.locator(".field-state")).to_have_text("No longer in this list.")
    expect(row.locator("button, .badge, .rowbuttons")).to_have_count(0)
    expect(row.locator("input.action-select")).to_be_disabled()
    expect(row.locator(".field-model_name a")).to_be_focused()
    assert not row.locator("input.action-select").is_checked()

    api.load(digits_copy)
    look_again(page)

    expect(row.locator(".badge")).to_have_text("Loaded")
    expect(page.locator("#slots-line")).to_have_text(slots)
    expect(row.locator("button:has-text('Unload')")).to_be_visible()
    expect(row.locator("input.action-select")).to_be_enabled()


def test_a_row_that_was_deleted_elsewhere_says_so(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = open_page()
    log_in(page, LIST)
    row = page.locator(f"#result_list tbody tr:has-text('{digits_copy}')")
    expect(row.locator("button:has-text('Load')")).to_be_visible()

    portal.client("manage").delete(f"/api/models/{digits_copy}/")
    look_again(page)

    expect(row.locator(".field-state")).to_have_text("No longer in this list.")
    expect(row.locator("button")).to_have_count(0)


def test_more_pictures_than_a_request_may_hold_are_refused_before_they_are_sent(open_page: Callable[..., Page]) -> None:
    page = open_page()
    log_in(page, LIST)
    page.check("#result_list input.action-select >> nth=0")
    page.select_option("[name=action]", label="Ask with pictures…")
    page.click(".actions button")
    pictures = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": b"x"} for n in range(65)]

    page.set_input_files("#id_image", pictures)
    too_many = page.locator("#id_image").evaluate("(field) => field.validationMessage")
    page.set_input_files("#id_image", pictures[:64])
    enough = page.locator("#id_image").evaluate("(field) => field.validationMessage")

    assert too_many == "Choose at most 64 pictures at once; these are 65."
    assert not enough
