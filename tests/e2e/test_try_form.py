"""The try page in a browser: loading from the page, dropping, pasting, asking, with and without a script."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import PICTURES, drop, log_in, look_again, winners
from tests.running_portal import ROOT, RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
SEVEN, TWO = PICTURES / "seven.png", PICTURES / "two.png"


def with_pictures(page: Page, portal: RunningPortal, name: str) -> Page:
    """The form of the model, which is loaded, with a seven and a two chosen."""
    portal.client("manage").load(name)
    log_in(page, f"/try/{name}/")
    page.set_input_files("#id_image", [SEVEN, TWO])
    return page


def test_the_sample_brings_its_own_pictures(
    open_page: Callable[..., Page], portal: RunningPortal, digits_copy: str
) -> None:
    page, api = open_page(), portal.client("manage")
    log_in(page, "/try/digits/")
    expect(page.locator("#samples button:disabled")).to_have_count(6)  # as the field that they would go into
    api.load("digits")
    try:
        look_again(page)
        expect(page.locator("#id_image")).to_be_enabled()
        expect(page.locator("#samples button:enabled")).to_have_count(6)

        page.click("[alt='A handwritten 4']")
        expect(page.locator(".previews li")).to_have_count(1)
        page.click("[alt='A handwritten 0']")
        expect(page.locator(".previews li")).to_have_count(2)
        page.click("#ask-button")

        assert winners(page) == ["4", "0"]
    finally:
        api.unload("digits")
    page.goto(f"/try/{digits_copy}/")
    assert page.locator("#samples").count() == 0


def test_a_question_asked_while_it_loads_is_answered(open_page: Callable[..., Page], digits_copy: str) -> None:
    page = open_page()
    log_in(page, f"/try/{digits_copy}/")

    expect(page.locator("#id_image")).to_be_disabled()
    page.click(f"text=Load {digits_copy} v1")
    page.wait_for_selector("#ask-button:text('Ask when ready')")
    drop(page, "#id_image", [SEVEN, TWO])
    expect(page.locator(".previews li")).to_have_count(2)
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    expect(page.locator("#head .badge")).to_have_text("Loaded")
    expect(page.locator("#id_version option")).to_have_text("1 (newest loaded)")
    expect(page.locator("#ask-button")).to_have_text(f"Ask {digits_copy}")
    expect(page.locator("#state")).to_be_hidden()


def test_on_a_phone_the_answers_come_into_sight_without_motion_for_those_who_want_none(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = with_pictures(open_page(width=390), portal, digits_copy)
    page.emulate_media(reduced_motion="reduce")
    answers = page.locator("#answers").element_handle()  # screen readers read what is put into it, not a new one
    page.evaluate("addEventListener('scroll', () => { (window.seen ??= []).push(scrollY); })")
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    expect(page.locator("#answers")).to_be_in_viewport()
    page.wait_for_timeout(500)
    assert len(set(page.evaluate("window.seen"))) == 1
    assert answers is not None and answers.evaluate("(section) => section.isConnected")


def test_a_bad_picture_is_named_and_the_others_are_answered(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal, tmp_path: Path
) -> None:
    portal.client("manage").load(digits_copy)
    bad = tmp_path / "holiday.heic"
    bad.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    page = open_page()
    log_in(page, f"/try/{digits_copy}/")

    page.set_input_files("#id_image", [SEVEN, bad, TWO])
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    names = [text.split()[0] for text in page.locator(".answer figcaption, .answer .card.bad b").all_inner_texts()]
    assert names == ["seven.png", "holiday.heic", "two.png"]
    assert "HEIC" in page.inner_text(".card.bad")
    expect(page.locator(".timing")).to_contain_text("2 of 3 pictures answered")
    _save_screenshot(page, portal)


def test_an_empty_picture_is_marked_when_it_is_chosen_and_the_others_are_answered(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal, tmp_path: Path
) -> None:
    empty = tmp_path / "img"
    empty.touch()
    page = with_pictures(open_page(), portal, digits_copy)

    page.set_input_files("#id_image", [SEVEN, empty, TWO])
    expect(page.locator(".previews li.bad span")).to_have_text("Empty: img")
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    expect(page.locator(".previews li.bad span")).to_have_text("Empty: img")


def test_a_session_that_ended_keeps_the_pictures_and_goes_on_after_a_log_in_in_another_tab(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = with_pictures(open_page(), portal, digits_copy)
    page.context.clear_cookies(name="sessionid")

    page.click("#ask-button")
    told = "You are logged out. Log in in another tab, then ask again."
    expect(page.locator("#ask-hint")).to_have_text(told)
    expect(page.locator("#live-words")).to_have_text(told)  # which is read out
    look_again(page)  # and is told that the session has ended
    expect(page.locator(".previews li")).to_have_count(2)
    other = page.context.new_page()
    log_in(other, "/try/")
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]


def test_a_chosen_picture_is_taken_out_again(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = with_pictures(open_page(), portal, digits_copy)

    page.get_by_role("button", name="Take out seven.png").click()
    expect(page.locator("#ask-hint")).to_have_text("1 picture chosen")
    page.click("#ask-button")

    assert winners(page) == ["2"]


def test_pictures_chosen_while_others_are_asked_about_are_counted(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = with_pictures(open_page(), portal, digits_copy)

    def answer_late(route: Route) -> None:
        page.set_input_files("#id_image", [SEVEN, TWO, PICTURES / "one.png"])
        route.continue_()

    page.route("**fragment=answers", answer_late)
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    expect(page.locator("#ask-hint")).to_have_text("3 pictures chosen")


def test_the_focus_stays_at_the_pictures_when_one_is_taken_out(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = with_pictures(open_page(), portal, digits_copy)
    page.set_input_files("#id_image", [SEVEN, PICTURES / "one.png", TWO])
    page.get_by_role("button", name="Take out one.png").focus()

    for name in ("two.png", "seven.png"):
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=f"Take out {name}")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("#id_image")).to_be_focused()
    expect(page.locator(".previews")).to_have_count(0)


def test_without_a_script_the_page_loads_and_answers_too(open_page: Callable[..., Page], digits_copy: str) -> None:
    page = open_page(has_script=False)
    log_in(page, f"/try/{digits_copy}/")

    page.click(f"text=Load {digits_copy} v1")
    expect(page.locator("#head .badge")).to_have_text("Loaded", timeout=60_000)  # the page looks again by itself
    page.set_input_files("#id_image", [SEVEN, TWO])
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    assert page.locator(".answer .sees img").count() == 2


def test_a_pasted_picture_joins_the_chosen_ones(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    portal.client("manage").load(digits_copy)
    page = open_page(width=390)
    log_in(page, f"/try/{digits_copy}/")

    page.set_input_files("#id_image", [SEVEN])
    page.evaluate(
        """(text) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        base64.b64encode(TWO.read_bytes()).decode(),
    )
    page.click("#ask-button")

    assert winners(page) == ["7", "2"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_way_back_leads_to_the_chosen_pictures(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = with_pictures(open_page(), portal, digits_copy)

    page.goto("/try/")
    page.go_back()

    expect(page.locator(".previews li span")).to_have_text(["seven.png", "two.png"])


def test_a_page_opened_during_the_check_learns_what_the_model_takes(
    open_page: Callable[..., Page], portal: RunningPortal, served_files: Path
) -> None:
    api, page = portal.client("manage"), open_page()
    log_in(page, "/try/")
    with (served_files / "pair.zip").open("rb") as file:
        api.post("/api/models/", data={"name": "opened-early"}, files={"file": ("pair.zip", file)})

    try:
        page.goto("/try/opened-early/")
        expect(page.locator("#id_image")).to_have_count(1)

        expect(page.locator("#id_instances")).to_have_value('[{"a": [0, 0, 0, 0], "b": [0, 0, 0, 0]}]')
        assert "each an object of a (a list of 4 values" in page.inner_text("#ask")
    finally:
        api.checked("opened-early")
        api.delete("/api/models/opened-early/", params={"unload": "true"})


def test_the_snippets_work_as_they_stand(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal, tmp_path: Path
) -> None:
    portal.client("manage").load(digits_copy)
    shutil.copy(SEVEN, tmp_path / "picture.png")
    token = portal.client("predict").headers["Authorization"].split()[1]  # type: ignore[union-attr]
    page = open_page()
    log_in(page, f"/try/{digits_copy}/")
    codes = {name: page.locator(f".s-{name} code").text_content() or "" for name in ("curl", "python")}

    commands = {"python": [sys.executable, "-c", codes["python"]]}
    if shutil.which("curl"):
        commands["curl"] = ["sh", "-c", codes["curl"]]
    for command in commands.values():
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "KEY": str(token), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.replace('"', "'").count("'label': '7'") + done.stdout.count('"label":"7"') >= 1, done.stdout


def _save_screenshot(page: Page, portal: RunningPortal) -> None:
    """For the README, only when asked for: ordinary runs do not touch the tree."""
    if os.environ.get("PORTAL_SCREENSHOTS") != "1":
        return
    portal.client("manage").load("digits")
    page.goto("/try/digits/")
    page.set_input_files("#id_image", [SEVEN, TWO])
    page.click("#ask-button")
    assert winners(page) == ["7", "2"]
    page.wait_for_selector(".previews .done")
    path = ROOT / "docs" / "screenshot.png"
    path.parent.mkdir(exist_ok=True)
    page.locator("#ask-button").blur()
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size < 300_000
    portal.client("manage").unload("digits")
