"""One model's whole life by clicking, with and without a script: upload, check, load, ask twice, unload, delete."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import SAMPLE
from tests.e2e.conftest import LIMIT_MS, PICTURES, drop, log_in, winners
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
SEVEN, TWO = PICTURES / "seven.png", PICTURES / "two.png"


@pytest.mark.parametrize("has_script", [True, False], ids=["with-script", "without-script"])
def test_a_model_lives_and_goes_by_clicking(
    open_page: Callable[..., Page], portal: RunningPortal, has_script: bool
) -> None:
    name = "story-with-script" if has_script else "story-without-script"
    page = open_page(has_script=has_script)

    log_in(page, "/admin/")
    upload(page, name)
    page_of_version = page.url
    load(page)
    assert answers_on_the_try_page(page, name, has_script=has_script) == ["7", "2"]
    assert answers_in_the_admin(page, name) == ["7", "2"]
    pid = portal.client("manage").pid(name)
    page.goto(page_of_version)
    page.click("#head button:has-text('Unload')")

    expect(page.locator(".messagelist")).to_contain_text(f"{name} v1 unloaded in", timeout=LIMIT_MS)
    assert str(pid) in page.inner_text(".messagelist")
    assert pid not in [process.pid for process in portal.runners()]
    delete(page, name)
    assert portal.client("manage").get(f"/api/models/{name}/versions/1/").status_code == 404


def upload(page: Page, name: str) -> None:
    """Through the form of the admin; ends on the version's page, after its check."""
    page.goto("/admin/models_app/modelversion/")
    page.click("text=Upload a model")
    page.set_input_files("#id_file", SAMPLE)
    page.fill("#id_name", name)
    page.select_option("#id_engine", "tensorflow")
    page.fill("#id_labels", "\n".join("0123456789"))
    page.check("input[name=preset][value=unit]")
    page.click("text=Upload and check")
    page.wait_for_url("**/change/")
    expect(page.locator("#head h1")).to_have_text(f"{name} v1")
    expect(page.locator("#head .badge")).to_have_text("Unloaded", timeout=LIMIT_MS)


def load(page: Page) -> None:
    page.click("#head button:has-text('Load')")
    expect(page.locator("#head .badge")).to_have_text("Loaded", timeout=LIMIT_MS)


def answers_on_the_try_page(page: Page, name: str, *, has_script: bool) -> list[str]:
    page.click("#head a:has-text('Try it')")
    page.wait_for_url(f"**/try/{name}/?version=1")
    if has_script:
        drop(page, "#id_image", [SEVEN, TWO])
    else:
        page.set_input_files("#id_image", [SEVEN, TWO])
    page.click("#ask-button")
    return winners(page)


def answers_in_the_admin(page: Page, name: str) -> list[str]:
    """By the bulk action of the list."""
    page.goto("/admin/models_app/modelversion/")
    page.check(f"#result_list tr:has-text('{name}') input.action-select")
    page.select_option("select[name=action]", "ask_selected")
    page.click("button[name=index]")
    page.set_input_files("#id_image", [SEVEN, TWO])
    page.click("button:text-is('Ask')")
    answers = page.locator(".answer")
    expect(answers).to_have_count(2)
    return [answer.locator(".scores span").first.inner_text() for answer in answers.all()]


def delete(page: Page, name: str) -> None:
    page.click("#head a:has-text('Delete')")
    page.click(f"button:has-text('Delete {name} v1')")
    expect(page.locator(".messagelist")).to_contain_text(f"{name} v1 was deleted")
    assert page.locator(f"#result_list tr:has-text('{name} ')").count() == 0
