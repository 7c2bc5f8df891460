"""The upload form: what it makes of the chosen file, and when something comes between."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import SAMPLE
from tests.e2e.conftest import drop, log_in
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
FORM = "/admin/models_app/modelversion/add/"
BUTTON = "button:text('Upload and check')"


def fill(page: Page, name: str) -> None:
    page.set_input_files("#id_file", SAMPLE)
    page.fill("#id_name", name)
    page.select_option("#id_engine", "tensorflow")


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    for name in ("pets.keras", "many models.keras"):
        (tmp_path / name).write_bytes(b"x" * 2_000_000)
    return [tmp_path / "pets.keras", tmp_path / "many models.keras"]


def test_the_name_follows_the_file_until_somebody_types_one(
    open_page: Callable[..., Page], two_files: list[Path]
) -> None:
    page = open_page()
    log_in(page, FORM)

    names = []
    for file in two_files:
        page.set_input_files("#id_file", file)
        names.append(page.input_value("#id_name"))
    page.fill("#id_name", "mine")
    page.set_input_files("#id_file", two_files[0])

    assert names == ["pets", "many-models"]
    assert page.input_value("#id_name") == "mine"


def test_the_way_back_leads_to_the_chosen_file(open_page: Callable[..., Page], two_files: list[Path]) -> None:
    page = open_page()
    log_in(page, FORM)
    page.set_input_files("#id_file", two_files[0])

    page.goto("/try/")
    page.go_back()

    expect(page.locator(".dropzone strong")).to_have_text("pets.keras")
    assert page.input_value("#id_name") == "pets"


@pytest.mark.parametrize("typed", ["flowers", ""])
def test_the_way_back_leads_to_the_name_that_stood_there(
    open_page: Callable[..., Page], two_files: list[Path], typed: str
) -> None:
    page = open_page()
    log_in(page, FORM)
    page.set_input_files("#id_file", two_files[0])
    page.fill("#id_name", typed)

    page.goto("/try/")
    page.go_back()

    expect(page.locator(".dropzone strong")).to_have_text("pets.keras")
    assert page.input_value("#id_name") == typed


def test_a_name_that_came_or_went_meanwhile_says_what_pressing_again_makes(
    open_page: Callable[..., Page], portal: RunningPortal, allowed_complaints: list[str]
) -> None:
    allowed_complaints += ["400", "404"]
    name, page, api = "came-and-went", open_page(), portal.client()
    log_in(page, FORM)
    fill(page, name)
    again = "Press “Upload and check” again to make"
    kept = "Nothing was kept of the file."
    try:
        api.upload(name, SAMPLE)
        page.click(BUTTON)
        expect(page.locator(".errornote")).to_have_text(
            f"There is a model called {name} meanwhile. {again} version 2 of it. {kept}"
        )
        expect(page.locator("#name-hint")).to_have_text(f"{name} exists; this becomes version 2.")
        assert page.locator(".errortext").count() == 0

        api.delete(f"/api/models/{name}/")
        page.click(BUTTON)
        expect(page.locator(".errornote")).to_have_text(
            f"There is no model called {name} any more. {again} a new one. {kept}"
        )
        expect(page.locator("#name-hint")).to_contain_text("Letters, digits")

        page.click(BUTTON)
        page.wait_for_url("**/change/")
    finally:
        api.delete(f"/api/models/{name}/", params={"unload": "true"})


def test_the_hint_of_a_proposed_name_does_not_stay_at_another(open_page: Callable[..., Page], digits_copy: str) -> None:
    page = open_page()
    log_in(page, f"{FORM}?name={digits_copy}")

    expect(page.locator("#name-hint")).to_have_text(f"{digits_copy} exists; this becomes version 2.")
    page.fill("#id_name", "another")

    expect(page.locator("#name-hint")).to_contain_text("Letters, digits")


def test_a_next_version_is_set_up_as_the_one_before(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    page = open_page()
    log_in(page, FORM)
    expect(page.locator("#take-over")).to_be_hidden()
    fill(page, digits_copy)

    page.click("#take-over")

    expect(page.locator("#as-before")).to_have_text("The form is filled in as version 1 is set up.")
    expect(page.locator("#take-over")).to_be_hidden()
    expect(page.locator("details.more[open]")).to_have_count(0)  # nothing in them is set
    page.click(BUTTON)
    page.wait_for_url("**/change/")
    version, before = portal.client().checked(digits_copy, 2), portal.client().version(digits_copy, 1)
    assert version["labels"] == before["labels"] and len(version["labels"]) == 10
    assert version["preprocessing"] == before["preprocessing"] | {"resize": "stretch"}


def test_two_files_at_once_are_answered_with_a_sentence(open_page: Callable[..., Page], two_files: list[Path]) -> None:
    page = open_page()
    log_in(page, FORM)

    drop(page, "#id_file", two_files)
    expect(page.locator(".errortext")).to_have_text("Drop one file. Several, or a folder, go as one .zip.")
    drop(page, "#id_file", two_files[1:])

    expect(page.locator(".dropzone strong")).to_have_text("many models.keras")
    expect(page.locator(".errortext")).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("huge", 6 * 10**9, "huge.keras is 6.0 GB; a file may hold at most 5.4 GB."),
        ("empty", 0, "The file is empty; a folder goes as one .zip."),
    ],
    ids=["above the limit", "empty"],
)
def test_a_file_that_cannot_be_taken_is_told_when_it_is_chosen_and_never_sent(
    open_page: Callable[..., Page], two_files: list[Path], tmp_path: Path, name: str, size: int, told: str
) -> None:
    chosen = tmp_path / f"{name}.keras"
    with chosen.open("wb") as file:
        file.truncate(size)
    page = open_page()
    log_in(page, FORM)

    page.set_input_files("#id_file", chosen)
    expect(page.locator(".errortext")).to_have_text(told)
    page.click(BUTTON)
    assert page.locator("#id_file").evaluate("(field) => field.validationMessage") == told
    expect(page.locator(".chosen")).to_have_count(0)
    page.set_input_files("#id_file", two_files[0])

    expect(page.locator(".errortext")).to_have_count(0)
    assert page.locator("#id_file").evaluate("(field) => field.validity.valid")


def test_an_upload_that_stands_still_says_so(open_page: Callable[..., Page], two_files: list[Path]) -> None:
    page = open_page()
    page.clock.install()
    log_in(page, FORM)
    page.set_input_files("#id_file", two_files[0])
    page.route("**/api/models/", lambda route: None)  # held back

    page.click(BUTTON)
    page.clock.run_for(9_000)
    before = page.inner_text(".chosen span")
    page.clock.run_for(2_000)

    assert before == "pets.keras, 2.0 MB"
    expect(page.locator(".chosen span")).to_have_text(f"{before}. Nothing was sent for 10 s.")
    page.click("button:text('Stop')")


def test_the_progress_on_a_slow_line_is_in_small_units(open_page: Callable[..., Page], two_files: list[Path]) -> None:
    page = open_page()
    log_in(page, FORM)
    page.set_input_files("#id_file", two_files[0])
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)

    page.click(BUTTON)

    words = re.compile(r"^pets\.keras: \d+ KB of 2\.0 MB, \d+ KB a second, about \d min left$")
    expect(page.locator(".chosen span")).to_have_text(words)
    page.click("button:text('Stop')")


def test_the_progress_tells_of_the_file_and_not_of_what_is_sent_beside_it(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("five\n")
    page = open_page()
    log_in(page, FORM)
    page.set_input_files("#id_file", tmp_path / "notes.txt")
    page.fill("#id_labels", "x" * 100_000)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)

    page.click(BUTTON)

    expect(page.locator(".chosen span")).to_contain_text("notes.txt: 5 bytes of 5 bytes, ")
    page.click("button:text('Stop')")


def test_a_screen_reader_hears_of_the_upload_in_words_and_not_in_figures(
    open_page: Callable[..., Page], two_files: list[Path], portal: RunningPortal, allowed_complaints: list[str]
) -> None:
    allowed_complaints.append("400")  # where the server sees already that this is no model
    page, heard = open_page(), []
    log_in(page, FORM)
    page.set_input_files("#id_file", two_files[0])
    page.fill("#id_name", "heard-of")
    page.expose_function("hear", lambda text: heard.append(text))
    page.evaluate("""() => new MutationObserver((changes) => {
        for (const { target } of changes) {
            const region = (target.closest ? target : target.parentElement).closest("[role=status], [aria-live]");
            if (region?.textContent.trim()) hear(region.textContent.trim());
        }
    }).observe(document.body, { childList: true, subtree: true, characterData: true })""")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)

    page.click(BUTTON)
    expect(page.locator(".chosen span")).to_contain_text(" a second, about ")
    expect(page.locator(".chosen progress")).to_have_attribute("aria-label", "Upload of pets.keras")
    page.click("button:text('Stop')")
    expect(page.locator(".errornote[role=alert]")).to_contain_text("Stopped.")
    heard.clear()
    page.click(BUTTON)
    expect(page.locator(".chosen")).to_have_count(0)
    portal.client().delete("/api/models/heard-of/")

    began = "The upload of pets.keras has begun."
    assert heard == [began, "Half of pets.keras is uploaded.", "pets.keras is received and is being checked."]


@pytest.mark.parametrize("typed", ["22.5 x 22", "-5 x 3", "abc", "224"])
def test_a_size_that_is_none_is_said_before_anything_is_sent(open_page: Callable[..., Page], typed: str) -> None:
    page = open_page()
    log_in(page, FORM)
    fill(page, "never-sent")
    size, details = page.locator("#id_size"), page.locator("details:has(#id_size)")
    details.locator("summary").click()
    size.fill(typed)
    details.locator("summary").click()

    page.click(BUTTON)

    expect(size).to_be_focused()
    wanted = "Write height and width as two numbers, like 224 × 224."
    assert size.evaluate("(field) => field.validationMessage") == wanted
    size.fill("224 x 200")
    assert size.evaluate("(field) => field.validity.valid")


def test_a_precision_that_the_engine_does_not_have_is_said_before_anything_is_sent(
    open_page: Callable[..., Page],
) -> None:
    page = open_page()
    log_in(page, FORM)
    fill(page, "never-sent")
    precision = page.locator("#id_precision")
    precision.select_option("f16")

    page.click(BUTTON)

    expect(precision).to_be_focused()
    wanted = "tensorflow computes in f32 only. Choose openvino for f16."
    assert precision.evaluate("(field) => field.validationMessage") == wanted
    page.select_option("#id_engine", "openvino")
    assert precision.evaluate("(field) => field.validity.valid")


def test_a_session_that_ended_keeps_the_form_and_goes_on_after_a_log_in_in_another_tab(
    open_page: Callable[..., Page], portal: RunningPortal, allowed_complaints: list[str]
) -> None:
    allowed_complaints.append("401")
    name, page = "sent-after-a-new-log-in", open_page()
    try:
        log_in(page, FORM)
        fill(page, name)
        page.context.clear_cookies(name="sessionid")
        page.click(BUTTON)
        expect(page.locator(".errornote")).to_have_text(
            "You are logged out. Log in in another tab, then press “Upload and check” again."
        )
        expect(page.locator(BUTTON)).to_be_focused()
        assert page.input_value("#id_name") == name

        log_in(page.context.new_page(), "/admin/")
        page.click(BUTTON)

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

    page.click(BUTTON)
    expect(page.locator(".dropzone")).to_be_hidden()
    expect(page.locator("button:text('Stop')")).to_be_focused()
    page.evaluate("location.assign('/admin/')")
    expect(page.locator(".chosen button")).to_be_visible()
    page.click("button:text('Stop')")

    assert questions == ["beforeunload"]
    expect(page.locator(".errornote")).to_have_text("Stopped. Nothing was kept of the file.")
    expect(page.locator(BUTTON)).to_be_focused()
    page.goto("/admin/")
    assert len(questions) == 1


def test_a_broken_connection_keeps_the_file_and_names_the_button(
    open_page: Callable[..., Page], allowed_complaints: list[str]
) -> None:
    allowed_complaints.append("ERR_FAILED")
    page = open_page()
    log_in(page, FORM)
    fill(page, "broken-off")
    page.route("**/api/models/", lambda route: route.abort())

    page.click(BUTTON)

    said = "The connection broke. Press “Upload and check” again; if the file has changed since, choose it again."
    expect(page.locator(".errornote")).to_contain_text(said)
    expect(page.locator(BUTTON)).to_be_focused()
    expect(page.locator(".dropzone strong")).to_have_text(SAMPLE.name)
