"""Nothing is wider than the window: every page of a desk, a tablet and a phone, with the longest name of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page

from tests.conftest import SAMPLE
from tests.e2e.conftest import PICTURES, log_in
from tests.running_portal import RunningPortal

pytestmark = [pytest.mark.portal, pytest.mark.browser]
NAME = "longnamewithoutanyplacetobreak".ljust(100, "x")
REJECTED = "rejectednamewithoutanyplacetobreak".ljust(100, "x")
VERSIONS = "/admin/models_app/modelversion/"
TABLES = ["apikey", "registeredmodel", "job", "node", "transition"]
CUT_OFF = """() => {
    const isWider = (e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "auto";
    return [document.documentElement, ...document.querySelectorAll("#changelist, .panel, .results")]
        .filter(isWider).map((e) => `${e.tagName} ${e.id} ${e.className}: ${e.scrollWidth - e.clientWidth} px`);
}"""
"""The window, and the boxes that hide what does not fit in."""


@pytest.fixture(scope="module")
def long_name(portal: RunningPortal) -> Iterator[str]:
    api = portal.client("manage")
    labels = json.dumps(["x" * 300, *"123456", "seven" * 40, *"89"])
    api.upload(NAME, SAMPLE, preprocessing='{"preset": "unit"}', labels=labels)
    api.load(NAME)
    assert api.upload(REJECTED, SAMPLE, labels='["a"]')["status"] == "rejected"
    yield NAME
    for name in (NAME, REJECTED):
        api.delete(f"/api/models/{name}/", params={"unload": "true"})


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_no_page_is_wider_than_the_window(open_page: Callable[..., Page], long_name: str, width: int) -> None:
    page = open_page(width=width)
    log_in(page, "/admin/")
    page.goto(f"{VERSIONS}open/{long_name}/1/")
    version = page.url.removesuffix("change/")
    pages = ["/admin/", VERSIONS, f"{VERSIONS}add/?name={long_name}", "/try/", f"/try/{long_name}/"]
    pages += [f"{version}{verb}/" for verb in ("change", "log", "delete", "history")]
    pages += [f"/admin/models_app/{table}/" for table in TABLES] + ["/admin/auth/user/", "/admin/auth/group/"]

    too_wide = {}
    for address in pages:
        page.goto(address)
        if found := page.evaluate(CUT_OFF):
            too_wide[address.removeprefix(version)] = found

    assert not too_wide


@pytest.mark.parametrize("width", [1280, 390])
def test_the_score_of_a_long_label_is_in_sight(open_page: Callable[..., Page], long_name: str, width: int) -> None:
    page = open_page(width=width)
    log_in(page, "/try/")
    page.goto(f"/try/{long_name}/")
    page.set_input_files("#id_image", [PICTURES / "seven.png"])
    page.click("#ask-button")

    score, panel = page.locator(".winner small").bounding_box(), page.locator("#answers").bounding_box()

    assert score is not None and panel is not None
    assert score["height"] < 30  # in one line
    assert score["x"] + score["width"] <= panel["x"] + panel["width"]


def test_the_words_of_an_empty_panel_stand_in_its_middle(open_page: Callable[..., Page]) -> None:
    page = open_page(width=1280)
    log_in(page, "/try/")
    page.goto("/try/?search=nothing-is-called-this")

    panel, words = page.locator(".panel.empty").bounding_box(), page.locator(".panel.empty > p").bounding_box()

    assert panel is not None and words is not None
    assert abs((panel["x"] + panel["width"] / 2) - (words["x"] + words["width"] / 2)) < 2


def test_the_button_of_a_long_name_stays_one_word(open_page: Callable[..., Page], long_name: str) -> None:
    page = open_page()
    log_in(page, "/try/")

    button = page.locator(f"tr:has-text('{long_name}') .btn").bounding_box()
    name = page.locator(f"tr:has-text('{long_name}') th a").bounding_box()

    assert button is not None and name is not None
    assert button["height"] < 45
    assert name["x"] + name["width"] <= button["x"]


def test_tables_other_than_the_list_of_versions_keep_their_head_on_a_phone(
    open_page: Callable[..., Page], portal: RunningPortal
) -> None:
    portal.client()  # with a key, which stands in the table
    page = open_page(width=390)
    log_in(page, "/admin/models_app/apikey/")

    assert page.is_visible("#result_list thead th.column-scope")
    assert page.locator("#result_list tbody tr").first.evaluate("(row) => getComputedStyle(row).display") == "table-row"


@pytest.mark.parametrize(("table", "last"), [("job", "finished_at"), ("transition", "by")])
def test_a_long_name_leaves_the_other_columns_in_sight(
    open_page: Callable[..., Page], long_name: str, table: str, last: str
) -> None:
    page = open_page()
    log_in(page, "/admin/")
    page.goto(f"/admin/models_app/{table}/")

    results, column = page.locator(".results").bounding_box(), page.locator(f"th.column-{last}").bounding_box()

    assert results is not None and column is not None
    assert column["x"] + column["width"] <= results["x"] + results["width"] + 1


@pytest.mark.parametrize(("width", "least"), [(1280, 32), (390, 40)])
def test_what_is_pressed_is_large_enough(
    open_page: Callable[..., Page], portal: RunningPortal, width: int, least: int
) -> None:
    page = open_page(width=width)
    log_in(page, "/admin/")
    pages = {
        "/try/?search=digits": "#user-tools a, #user-tools button, .mainnav a, #id_search, .trypage .btn",
        VERSIONS: ".chips a, #toolbar :is(#searchbar, [type=submit]), .actions :is(select, button), #result_list .btn",
        f"{VERSIONS}1/change/?edit=preprocessing": ".field :is(input[type=text], select), .btn",
        "/admin/models_app/apikey/add/": ".form-row :is(input, select), .submit-row input",
    }

    for address, targets in pages.items():
        page.goto(address)
        boxes = [(target.inner_text(), target.bounding_box()) for target in page.locator(targets).all()]

        assert len(boxes) >= 5, address
        assert not [(words, box) for words, box in boxes if box is None or box["height"] < least], address


def test_links_and_tabs_of_a_version_are_large_enough_for_a_finger(open_page: Callable[..., Page]) -> None:
    page = open_page(width=390)
    log_in(page, "/admin/")
    page.goto(f"{VERSIONS}1/change/")
    targets = page.locator(".panel .spread > a, details.more > summary, .snippet .tabs label")
    boxes = [(target.inner_text(), target.bounding_box()) for target in targets.all() if target.is_visible()]

    assert len(boxes) >= 5
    assert not [(words, box) for words, box in boxes if box is None or box["height"] < 40]


def test_boxes_to_tick_and_blocks_of_memory_are_large_enough_for_a_finger(
    open_page: Callable[..., Page], long_name: str
) -> None:
    page = open_page(width=390)
    log_in(page, "/admin/")

    for address, targets in ((VERSIONS, "#result_list .action-select"), ("/admin/", ".membar a")):
        page.goto(address)
        boxes = [target.bounding_box() for target in page.locator(targets).all()]

        assert boxes, address
        assert not [box for box in boxes if box is None or min(box["width"], box["height"]) < 24], address


def test_long_lines_stay_on_the_paper(open_page: Callable[..., Page], long_name: str) -> None:
    page = open_page(width=794)  # A4
    log_in(page, "/admin/")
    page.goto(f"{VERSIONS}open/{long_name}/1/")
    page.emulate_media(media="print")

    assert page.is_visible("pre.log") and page.is_visible(".snippet pre >> nth=0")
    assert not page.evaluate(CUT_OFF)


def test_letters_that_the_reader_made_larger_fit_into_the_slots(open_page: Callable[..., Page], long_name: str) -> None:
    page = open_page()
    log_in(page, "/admin/")
    page.evaluate("document.documentElement.style.fontSize = '24px'")  # as "very large" in the browser's settings

    hidden = page.locator(".slots a").evaluate_all("(slots) => slots.map((s) => s.scrollHeight - s.clientHeight)")

    assert hidden and max(hidden) <= 0


def test_forced_colours_leave_what_is_chosen_and_which_model_is_which(
    open_page: Callable[..., Page], long_name: str
) -> None:
    page = open_page()
    page.emulate_media(forced_colors="active")
    log_in(page, "/admin/")

    def ground(selector: str) -> str:
        return str(page.locator(selector).first.evaluate("(one) => getComputedStyle(one).backgroundColor"))

    assert ground(".slots a") == ground(".rows .swatch") != ground(".slots .free")
    page.goto(VERSIONS)
    assert ground(".chips a[aria-current]") != ground(".chips a:not([aria-current])")
    page.goto(f"/try/{long_name}/")
    assert ground(".tabs label:has(:checked)") != ground(".tabs label:not(:has(:checked))")


@pytest.fixture
def compared(portal: RunningPortal, digits_copy: str) -> str:
    """A model with long figures in its comparison of engines, which nobody measured."""
    figures = "max_rel_diff=0.021, per_second=12147.0, p50_ms=1131.0, p99_ms=1381.4, best_batch=128"
    code = (
        "from models_app.models import ModelVersion; from tests.engine_rows import make_comparison, row; "
        f"made = [row(e, p, device='gpu:0', {figures}) for e in ('onnxruntime', 'openvino') for p in ('f32', 'bf16')]; "
        f"make_comparison(ModelVersion.objects.get(model__name='{digits_copy}'), rows=made)"
    )
    done = portal.manage("shell", "-c", code)
    assert done.returncode == 0, done.stderr
    return digits_copy


def test_the_choice_beside_each_engine_is_in_sight_at_every_width(
    open_page: Callable[..., Page], compared: str
) -> None:
    page = open_page()
    log_in(page, "/admin/")
    page.goto(f"{VERSIONS}open/{compared}/1/")
    hidden = """() => {
        const box = document.querySelector("#engines .scroll"), { right } = box.getBoundingClientRect();
        const ends = [...box.querySelectorAll(".btn, .badge")].map((one) => one.getBoundingClientRect().right);
        return Math.max(box.scrollWidth - box.clientWidth, Math.max(...ends) - right);
    }"""

    measured = {}
    for width in (320, 390, 767, 768, 820, 899, 900, 1024, 1100, 1101, 1180, 1260, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        measured[width] = page.evaluate(hidden)

    assert page.locator("#engines button:text('Use it')").count() >= 3
    assert not {width: px for width, px in measured.items() if px > 0}
