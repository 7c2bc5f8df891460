"""Engines by clicking: check and measurement watched, an engine chosen, asked, the frozen graph taken away and read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import SAMPLE
from tests.e2e.conftest import LIMIT_MS, PICTURES, log_in, winners
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
NAME = "engines-by-clicking"
MEASURED_MS = 280_000
"""Four engines are converted for and measured, each in a process of its own."""
READ_BACK = """
import json, sys
import tensorflow as tf
graph = tf.compat.v1.GraphDef.FromString(open(sys.argv[1], "rb").read())
feed, fetch, rows = json.load(sys.stdin)
with tf.compat.v1.Graph().as_default() as g:
    tf.import_graph_def(graph, name="")
    with tf.compat.v1.Session(graph=g) as session:
        print(json.dumps(session.run(fetch, {feed: rows}).tolist()))
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_engine_is_measured_chosen_and_asked_and_the_frozen_graph_answers_the_same(
    open_page: Callable[..., Page], portal: RunningPortal, tmp_path: Path
) -> None:
    page = open_page()
    try:
        log_in(page, "/admin/")
        upload(page)
        watch_the_measurement(page)
        choose(page, "openvino f32")
        page.click("#head button:has-text('Load')")
        expect(page.locator("#head .badge")).to_have_text("Loaded", timeout=LIMIT_MS)
        address = page.url
        assert portal.client().version(NAME)["instances"][0]["engine"] == "openvino"

        page.click("#head a:has-text('Try it')")
        page.set_input_files("#id_image", [PICTURES / "seven.png", PICTURES / "two.png"])
        page.click("#ask-button")
        assert winners(page) == ["7", "2"]
        page.goto(address)
        graph = download_the_frozen_graph(page, tmp_path)
        assert_same_answers(portal, graph)

        choose(page, "onnxruntime f32")
        expect(page.locator(".messagelist")).to_contain_text(f"{NAME} v1 runs on undisturbed.")
        expect(page.locator("#head .facts")).to_contain_text("onnxruntime f32 from the next load: asked for")
        assert portal.client().version(NAME)["instances"][0]["engine"] == "openvino"
    finally:
        portal.client().delete(f"/api/models/{NAME}/", params={"unload": "true"})


def test_what_the_form_says_of_engine_and_precision_arrives_over_the_api(
    open_page: Callable[..., Page], portal: RunningPortal
) -> None:
    name, page = "precision-by-clicking", open_page()
    try:
        log_in(page, "/admin/models_app/modelversion/add/")
        page.set_input_files("#id_file", SAMPLE)
        page.fill("#id_name", name)
        page.select_option("#id_engine", "openvino")
        page.select_option("#id_precision", "bf16")
        page.click("text=Upload and check")
        page.wait_for_url("**/change/")

        version = portal.client().version(name)
        assert (version["engine"], version["options"]) == ("openvino", {"precision": "bf16"})
    finally:
        portal.client().delete(f"/api/models/{name}/", params={"unload": "true"})


def upload(page: Page) -> None:
    """With the engine `auto`, as the form proposes; ends on the version's page while it is checked."""
    page.goto("/admin/models_app/modelversion/add/")
    page.set_input_files("#id_file", SAMPLE)
    page.fill("#id_name", NAME)
    page.fill("#id_labels", "\n".join("0123456789"))
    page.check("input[name=preset][value=unit]")
    assert page.input_value("#id_engine") == "auto"
    page.click("text=Upload and check")
    page.wait_for_url("**/change/")


def watch_the_measurement(page: Page) -> None:
    """Nothing is reloaded by hand: the page goes from the check over the measurement to the table."""
    step = page.locator("#state .steps li", has_text="The engines are measured")
    expect(step).to_have_class("now", timeout=LIMIT_MS)
    expect(step.locator("progress")).to_be_visible()
    expect(page.locator("#head .facts")).to_contain_text("engine tensorflow f32")
    expect(page.locator("#head .facts")).to_contain_text("the others are measured")
    expect(page.locator("#head button:has-text('Load')")).to_be_enabled()
    table = page.locator("table.engines")
    expect(table).to_be_visible(timeout=MEASURED_MS)
    expect(step).to_have_count(0)
    expect(table.locator("tr.picked .badge.pick")).to_have_text("recommended")
    expect(table.locator("tbody tr")).to_have_count(4)
    expect(table.locator("tr", has_text="reference")).to_contain_text("tensorflow")


def choose(page: Page, engine: str) -> None:
    """By the button of its row; where `auto` took it already, another one first."""
    for name in ("tensorflow f32", engine):
        row = page.locator("table.engines tbody tr", has=page.locator(f"th:has-text('{name}')"))
        button = row.locator("button:has-text('Use it')")
        if button.count():
            button.click()
            expect(page.locator(".messagelist")).to_contain_text(f"{name} is used from the next load")
            expect(row.locator("button:has-text('Use it')")).to_have_count(0)


def download_the_frozen_graph(page: Page, folder: Path) -> Path:
    row = page.locator(".downloads li", has_text="Frozen .pb")
    row.locator("button:has-text('Make it')").click()
    link = row.locator("a")
    expect(link).to_be_visible(timeout=MEASURED_MS)
    with page.expect_download() as started:
        link.click()
    assert started.value.suggested_filename == f"{NAME}-v1.pb"
    started.value.save_as(folder / "frozen.pb")
    return folder / "frozen.pb"


def assert_same_answers(portal: RunningPortal, graph: Path) -> None:
    """The graph in TensorFlow alone, and the portal, on the same random pictures."""
    rows = np.random.default_rng(3).uniform(0, 1, (3, 8, 8, 1)).round(4).tolist()
    version = portal.client().version(NAME)
    ends = [f"{version[kind][0]['name']}:0" for kind in ("inputs", "outputs")]
    answer = portal.client().post(f"/api/models/{NAME}/predict/", json={"instances": rows})
    assert answer.status_code == 200, answer.text

    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(graph)],
        input=json.dumps([*ends, rows]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    expected = answer.json()["predictions"][0]["outputs"][0]["data"]
    assert np.abs(np.array(json.loads(done.stdout)) - np.array(expected)).max() < 1e-4
