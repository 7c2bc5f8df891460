"""Models with several inputs or outputs, pictures, vectors and raw scores as answers, asked in the real try form."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from tests.running_portal import ROOT, Api, RunningPortal

pytestmark = pytest.mark.portal
MODELS = ("several-outputs", "raw-scores", "two-inputs")


@pytest.fixture(scope="module")
def browser(portal: RunningPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Logged in; the models of tests.try_models are loaded."""
    folder = tmp_path_factory.mktemp("try-models")
    command = [sys.executable, "-m", "tests.try_models", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    api = portal.client("manage")
    for name in MODELS:
        unit = '{"preset": "unit"}' if name != "two-inputs" else "{}"
        version = api.upload(name, folder / f"{name}.keras", engine="tensorflow", preprocessing=unit)
        assert version["status"] == "ready", version
        api.post(f"/api/models/{name}/load/")
    for name in MODELS:
        api.load(name)
    yield portal.browser()
    for name in MODELS:
        api.delete(f"/api/models/{name}/", params={"unload": "true"})


def ask(browser: Api, name: str, picture: bytes | None = None, **fields: str) -> str:
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    files = {"image": ("seven.png", picture)} if picture is not None else None
    answer = browser.post(f"/try/{name}/?fragment=answers", data={**token, **fields}, files=files)
    assert answer.status_code == 200, answer.text
    return " ".join(answer.text.split())


def test_a_picture_a_vector_and_a_number_are_shown_as_what_they_are(
    browser: Api, digit: Callable[[str], bytes]
) -> None:
    picture = digit("seven")
    gray = np.asarray(Image.open(io.BytesIO(picture)).convert("L").resize((8, 8), Image.Resampling.BILINEAR))

    html = ask(browser, "several-outputs", picture)

    drawn = re.search(r'class="drawn" src="data:image/png;base64,([^"]+)"', html)
    assert drawn is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn[1]))).convert("L")).astype(int)
    assert np.abs(shown - gray[::-1].astype(int)).max() <= 2, "upside down, and otherwise as it was"
    assert html.count("<polyline") == 1 and "64 numbers from" in html
    assert "and 56 more" in html
    assert f"{gray.mean() / 255:.3f}"[:4] in html
    assert " %" not in re.sub(r"data:image[^\"]+", "", html)


def test_raw_scores_are_plain_numbers_and_never_per_cent(browser: Api, digit: Callable[[str], bytes]) -> None:
    html = ask(browser, "raw-scores", digit("seven"))

    assert "30.18" in html and "15.09" in html and "−4" in html
    assert "Scores as the model gives them" in html
    assert " %" not in html and "3018" not in html


def test_the_page_says_that_a_model_scales_its_own_pixels(browser: Api) -> None:
    page = " ".join(browser.get("/try/raw-scores/").text.split())

    assert "The model scales its inputs itself (Rescaling 1/255); with the preset unit they are scaled twice." in page
    assert "scaled twice" not in browser.get("/try/several-outputs/").text


def test_a_model_of_two_inputs_is_asked_by_name_and_each_example_is_shown_by_itself(browser: Api) -> None:
    page = browser.get("/try/two-inputs/").text
    rows = '[{"numbers": [1, 2, 3, 4], "count": [2]}, {"numbers": [0.5, 0, 0, 0], "count": [10]}]'

    html = ask(browser, "two-inputs", instances=rows)

    assert "Examples as JSON" in page and "int32" in page
    assert "3, 4, 5, 6" in html and "10.5, 10, 10, 10" in html
    assert html.count("example 1 of 2") == 2 and html.count("<polyline") == 2
    assert 'class="winner">20<' in html and 'class="winner">5<' in html


def test_a_mistake_in_the_inputs_is_said_with_their_names(browser: Api) -> None:
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    answer = browser.post("/try/two-inputs/?fragment=answers", data={**token, "instances": '[{"numbers": [1, 2]}]'})

    assert 400 <= answer.status_code < 500
    assert "count" in answer.text or "numbers" in answer.text
