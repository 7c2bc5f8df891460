"""The upload form when something comes between: a session that ended, a stop, a page that is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import SAMPLE
from tests.e2e.conftest import log_in
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
FORM = "/admin/models_app/modelversion/add/"


def fill(page: Page, name: str) -> None:
    page.set_input_files("#id_file", SAMPLE)
    page.fill("#id_name", name)
    page.select_option("#id_engine", "tensorflow")


def test_a_session_that_ended_keeps_the_form_and_goes_on_after_a_log_in_in_another_tab(
    open_page: Callable[..., Page], portal: RunningPortal, allowed_complaints: list[str]
) -> None:
    allowed_complaints.append("401")
    name, page = "sent-after-a-new-log-in", open_page()
    try:
        log_in(page, FORM)
        fill(page, name)
        page.context.clear_cookies(name="sessionid")
        page.click("text=Upload and check")
        expect(page.locator(".errornote")).to_have_text(
            "You are logged out. Log in in another tab, then press Upload again."
        )
        expect(page.locator("text=Upload and check")).to_be_focused()
        assert page.input_value("#id_name") == name

        log_in(page.context.new_page(), "/admin/")
        page.click("text=Upload and check")

        page.wait_for_url("**/change/")
    finally:
        portal.client().delete(f"/api/models/{name}/", params={"unload": "true"})


def test_leaving_during_an_upload_is_asked_and_after_a_stop_the_button_has_the_focus(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    log_in(page, FORM)
    fill(page, "stopped")
    page.route("**/api/models/", lambda route: None)  # sent, and never answered
    questions: list[str] = []
    page.on("dialog", lambda dialog: (questions.append(dialog.type), dialog.dismiss()))

    page.click("text=Upload and check")
    page.evaluate("location.assign('/admin/')")
    expect(page.locator(".chosen button")).to_be_visible()
    page.click("text=Stop")

    assert questions == ["beforeunload"]
    expect(page.locator(".errornote")).to_have_text("Stopped. Nothing was kept of the file.")
    expect(page.locator("text=Upload and check")).to_be_focused()
    page.goto("/admin/")
    assert len(questions) == 1
