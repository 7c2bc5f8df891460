"""A real Chromium for a real portal. Skipped with a reason where there is none; under CI=true that is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect, sync_playwright

from tests.conftest import DIGIT_LABELS, SAMPLE
from tests.running_portal import PASSWORD, ROOT, RunningPortal

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PICTURES = ROOT / "samples" / "images"
LIMIT_MS = 60_000
expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed at the end of each module: while it is open, Django takes its thread for an asynchronous one."""
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is missing and CI=true asks for the browser tests.")
        pytest.skip("Chromium is missing: the browser tests need it.")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def allowed_complaints() -> list[str]:
    """Parts of what the console may say in this test."""
    return []


@pytest.fixture
def open_page(browser: Browser, portal: RunningPortal, allowed_complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """`open_page(has_script=False)`: a page of a fresh browser profile. A complaint in its console fails the test."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def make(*, has_script: bool = True, width: int = 1280) -> Page:
            context = browser.new_context(
                base_url=portal.url, java_script_enabled=has_script, viewport={"width": width, "height": 900}
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(LIMIT_MS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
            return page

        yield make
    assert not [said for said in complaints if not any(part in said for part in allowed_complaints)]


def log_in(page: Page, address: str, name: str = "admin", password: str = PASSWORD) -> None:
    """Through the portal's own page, on the way to `address`."""
    page.goto(f"/login/?next={address}")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("text=Log in >> visible=true >> nth=-1")
    page.wait_for_url(f"**{address}")


def drop(page: Page, selector: str, files: list[Path]) -> None:
    """Drops files from outside, as a file manager does."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    session: CDPSession = page.context.new_cdp_session(page)
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})


def winners(page: Page) -> list[str]:
    """The large labels of the answers, in their order."""
    page.wait_for_selector("#answers .answer")
    return [text.split()[0] for text in page.locator("#answers .winner").all_inner_texts()]


@pytest.fixture
def digits_copy(portal: RunningPortal, request: pytest.FixtureRequest) -> Iterator[str]:
    """A model of its own for each test: the sample under another name, checked, not loaded; deleted at the end."""
    name = request.node.name.replace("[", "-").replace("]", "")[-60:].replace("_", "-")
    api = portal.client("manage")
    version = api.upload(name, SAMPLE, labels=DIGIT_LABELS, preprocessing='{"preset": "unit"}')
    assert version["status"] == "ready", version
    yield name
    api.delete(f"/api/models/{name}/", params={"unload": "true"})


def look_again(page: Page) -> None:
    """As when its tab is looked at again: it polls at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
