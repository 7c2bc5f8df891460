"""Pages that are looked at while the portal cannot be reached, while what they show is deleted, or while somebody
writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import log_in, look_again
from tests.graph_files import CLASSIFIER, graph_def
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
VERSIONS = "/admin/models_app/modelversion/"


def pages_of(name: str) -> list[str]:
    """One address of each page that polls: of the version first, then of its model's test form."""
    return [f"{VERSIONS}open/{name}/1/", f"/try/{name}/", "/admin/", VERSIONS, "/try/"]


def open_all(page: Page, addresses: list[str]) -> list[Page]:
    """Each in a tab of its own."""
    log_in(page, "/try/")
    tabs = [page.context.new_page() for _ in addresses]
    for tab, address in zip(tabs, addresses, strict=True):
        tab.goto(address)
    return tabs


def test_every_page_says_that_the_connection_is_lost_until_it_is_back(
    open_page: Callable[..., Page], digits_copy: str, allowed_complaints: list[str]
) -> None:
    allowed_complaints.append("ERR_INTERNET_DISCONNECTED")
    tabs = open_all(open_page(), pages_of(digits_copy))
    told = [tab.get_by_text("Connection lost, trying again.") for tab in tabs]

    tabs[0].context.set_offline(True)
    for tab in 3 * tabs:  # three times in vain, which takes a quarter of a minute by itself
        look_again(tab)
        tab.wait_for_timeout(100)
    for words in told:
        expect(words).to_be_in_viewport()

    tabs[0].context.set_offline(False)
    for words in told:
        expect(words).to_be_hidden(timeout=5000)  # at once, not after the pause that failures have doubled


def test_a_host_that_is_gone_without_a_word_is_told_too(open_page: Callable[..., Page]) -> None:
    page, told = open_page(), "Connection lost, trying again."
    page.add_init_script(
        "const timeout = AbortSignal.timeout; AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 100);"
    )
    log_in(page, "/try/")
    page.route("**fragment=rows", lambda route: None)  # as of a host without power: no answer, no error

    for _ in range(3):
        look_again(page)
        page.wait_for_timeout(1000)
    expect(page.get_by_text(told)).to_be_in_viewport(timeout=5000)

    page.unroute_all(behavior="ignoreErrors")
    look_again(page)
    expect(page.get_by_text(told)).to_be_hidden(timeout=5000)


def test_a_page_is_brought_up_to_date_when_it_is_looked_at_again(open_page: Callable[..., Page]) -> None:
    page = open_page()
    log_in(page, "/try/")
    with page.expect_response("**fragment=rows"):
        pass  # the next one is due in ten seconds

    with page.expect_response("**fragment=rows", timeout=5000):
        look_again(page)


def test_a_page_says_that_what_it_showed_was_deleted(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal
) -> None:
    version, form = open_all(open_page(), pages_of(digits_copy)[:2])

    portal.client("manage").delete(f"/api/models/{digits_copy}/")

    expect(version.get_by_text("There is nothing at this address. It may have been deleted.")).to_be_visible()
    expect(form.get_by_text(f"There is no model called {digits_copy}.")).to_be_visible()
    expect(version.get_by_role("link", name="To the wall")).to_be_visible()
    expect(form.get_by_role("link", name="All models")).to_be_visible()


@pytest.mark.parametrize("then", ["", "?next=try"], ids=["version", "try"])
def test_what_a_message_says_of_something_under_way_goes_with_it_and_a_receipt_stays(
    open_page: Callable[..., Page], digits_copy: str, portal: RunningPortal, then: str
) -> None:
    page, badge, message = open_page(), "#head .badge", ".messagelist li"
    log_in(page, "/admin/")
    page.goto(pages_of(digits_copy)[0])
    load = page.locator("#head button:has-text('Load')")
    load.evaluate("(button, then) => button.setAttribute('formaction', button.getAttribute('formaction') + then)", then)
    load.click()
    page.wait_for_url("**/try/**" if then else "**/change/")

    expect(page.locator(badge)).to_have_text("Loaded")
    expect(page.locator(message)).to_have_count(0)

    page.goto(pages_of(digits_copy)[0])
    page.click("#head button:has-text('Unload')")
    expect(page.locator(message)).to_contain_text("unloaded in")
    portal.client("manage").load(digits_copy)
    look_again(page)
    expect(page.locator(badge)).to_have_text("Loaded")
    expect(page.locator(message)).to_contain_text("unloaded in")


def test_of_a_message_about_several_only_the_passing_words_go(
    open_page: Callable[..., Page], digits_copy: str, rejected_graph: str
) -> None:
    page = open_page()
    log_in(page, VERSIONS)
    for name in (digits_copy, rejected_graph):
        page.check(f"#result_list tbody tr:has-text('{name}') input.action-select")
    page.select_option("[name=action]", label="Load")
    page.click(".actions button")
    message = page.locator(".messagelist li")
    expect(message).to_contain_text(f"{rejected_graph} v1 cannot be loaded: it was rejected.")

    expect(page.locator(f"#result_list tr:has-text('{digits_copy}') .badge")).to_have_text("Loaded")
    expect(message).to_have_text(f"{rejected_graph} v1 cannot be loaded: it was rejected.")


@pytest.fixture
def rejected_graph(portal: RunningPortal, tmp_path: Path) -> Iterator[str]:
    """A frozen graph whose page asks which ends are meant."""
    file = tmp_path / "graph.pb"
    file.write_bytes(graph_def(CLASSIFIER))
    api = portal.client("manage")
    assert api.upload("endless", file, options='{"graph_outputs": ["nothing"]}')["status"] == "rejected"
    yield "endless"
    api.delete("/api/models/endless/")


def choose_ends(page: Page, name: str) -> None:
    """Opens the page, ticks an output and writes the name of an input."""
    log_in(page, "/try/")
    page.goto(pages_of(name)[0])
    page.check("[name=pick_outputs][value=answer]")
    page.fill("#id_graph_inputs", "image")


def test_what_is_ticked_and_written_outlives_the_polls(open_page: Callable[..., Page], rejected_graph: str) -> None:
    page = open_page()

    def say_more(route: Route) -> None:
        answer = route.fetch(headers={**route.request.headers, "if-none-match": ""})
        route.fulfill(response=answer, body=answer.text().replace("Choose them,", "Choose them now,"))

    choose_ends(page, rejected_graph)
    page.locator("#id_graph_inputs").evaluate("(field) => field.setSelectionRange(2, 2)")
    with page.expect_response("**fragment=head*"):
        pass  # the first, which says the same as the page
    page.keyboard.type("XX")
    expect(page.locator("#id_graph_inputs")).to_have_value("imXXage")

    page.route("**fragment=head*", say_more)
    look_again(page)
    expect(page.get_by_text("Choose them now,")).to_be_visible()

    expect(page.locator("[name=pick_outputs][value=answer]")).to_be_checked()
    expect(page.locator("#id_graph_inputs")).to_have_value("imXXage")


def test_ends_that_another_chose_meanwhile_are_shown_before_they_are_overwritten(
    open_page: Callable[..., Page], rejected_graph: str, portal: RunningPortal, allowed_complaints: list[str]
) -> None:
    allowed_complaints.append("409")
    api, page = portal.client("manage"), open_page()
    choose_ends(page, rejected_graph)

    others = {"options": {"graph_outputs": ["theirs"]}}
    assert api.patch(f"/api/models/{rejected_graph}/versions/1/", json=others).status_code == 200
    assert api.checked(rejected_graph)["status"] == "rejected"
    look_again(page)
    expect(page.locator("#head")).to_contain_text("theirs")
    page.click("text=Check again with these")

    expect(page.locator("#id_now")).to_contain_text("theirs")
    expect(page.locator("[name=pick_inputs][value=image]")).to_be_checked()
