"""How answers are shown: per cent only where that is true, vectors, pictures, nothing of a stranger's as it came."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from django.template.loader import render_to_string
from PIL import Image, PngImagePlugin

from inference.client import Seen
from inference.errors import BadImage
from inference.images.rendering import render_thumbnail
from models_app.models import ModelVersion
from models_app.tryit import drawings
from models_app.tryit.answers import Answer, Score, are_all_shares, shown_output, shown_scores
from models_app.tryit.inputs import input_words, seen_words
from tests.picture_files import encoded

EVIL = "<img src=x onerror=alert(1)>"


def top(*scores: float | str) -> list[dict[str, object]]:
    return [{"index": i, "label": f"label {i}", "score": score} for i, score in enumerate(scores)]


def picture_of(address: str) -> Image.Image:
    assert address.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def png(width: int, height: int, **save: object) -> bytes:
    return encoded(Image.new("RGB", (width, height), (200, 30, 30)), **save)


def test_shares_are_shown_as_per_cent() -> None:
    shown = shown_scores(top(0.968, 0.0144, 0.0001, 0.0), True)

    assert [s.text for s in shown] == ["96.8 %", "1.4 %", "0.01 %", "0.0 %"]
    assert [s.bar for s in shown] == [0.968, 0.0144, 0.0001, 0.0]


def test_raw_scores_are_never_shown_as_per_cent() -> None:
    scores = [30.18, 15.09, -4.0]

    shown = shown_scores(top(*scores), are_all_shares(ModelVersion(), scores))

    assert [s.text for s in shown] == ["30.18", "15.09", "−4"]
    assert [s.bar for s in shown] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("scores", [[0.5, -0.1], [1.2, 0.1], [0.5, "NaN"]])
def test_one_score_outside_is_enough_for_plain_numbers(scores: list[float | str]) -> None:
    assert not are_all_shares(ModelVersion(), scores)


def test_scores_that_are_all_below_zero_still_have_bars() -> None:
    shown = shown_scores(top(-1.0, -2.0, -3.0), False)

    assert [s.bar for s in shown] == [1.0, 0.5, 0.0]


def test_scores_that_are_no_numbers_have_no_bar() -> None:
    shown = shown_scores(top("Infinity", 2.0, "NaN"), False)

    assert [s.text for s in shown] == ["Infinity", "2", "NaN"]
    assert [s.bar for s in shown] == [0.0, 1.0, 0.0]


def test_a_vector_shows_its_first_eight_numbers_and_its_line() -> None:
    data = [float(n) for n in range(128)]

    shown = shown_output({"name": "embedding", "dtype": "float32", "shape": [128], "data": data}, has_batch=False)

    assert shown.numbers == "0, 1, 2, 3, 4, 5, 6, 7"
    assert shown.more == "and 120 more"
    assert len(shown.points.split()) == 128
    assert shown.words == "128 numbers from 0 to 127"


def test_a_vector_with_numbers_that_are_none_is_shown_all_the_same() -> None:
    data = [1.0, "NaN", "Infinity", 3.0]

    shown = shown_output({"name": "v", "dtype": "float32", "shape": [4], "data": data}, has_batch=False)

    assert shown.words == "4 numbers from 1 to 3, 2 of them not finite"


def test_a_single_number_is_shown_large() -> None:
    shown = shown_output({"name": "age", "dtype": "float32", "shape": [1], "data": [41.5]}, has_batch=False)

    assert shown.single == "41.5"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_as_output_is_shown_as_one(channels: int) -> None:
    data = np.linspace(0, 1, 6 * 5 * channels).reshape(6, 5, channels).tolist()

    shown = shown_output({"name": "y", "dtype": "float32", "shape": [6, 5, channels], "data": data}, has_batch=False)

    assert shown.drawing is not None
    assert picture_of(shown.drawing.src).size == (5, 6)
    assert "values 0 to 1" in shown.drawing.words


def test_texts_as_output_are_shown() -> None:
    shown = shown_output({"name": "t", "dtype": "string", "shape": [2], "data": ["a", EVIL]}, has_batch=False)

    assert shown.numbers == f"a, {EVIL}"


def test_labels_and_file_names_are_shown_as_text() -> None:
    good = Answer(EVIL, top=[Score(EVIL, "96.8 %", 0.968)], outputs=[])
    bad = Answer(EVIL, error="This is not a picture.")

    html = "".join(render_to_string("try/_answer.html", {"a": answer}) for answer in (good, bad))

    assert "<img" not in html
    assert html.count("&lt;img") == 6


def test_a_thumbnail_is_small_and_encoded_again() -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("comment", "what a runner wrote")
    small, size = render_thumbnail(png(1000, 500))

    shown = drawings.thumbnail(Seen(png(1000, 500, pnginfo=note), *size, b""))

    assert picture_of(shown.src).size == (192, 96)
    assert Image.open(io.BytesIO(small)).size == (192, 96)
    assert shown.words == "1000 × 500"
    assert b"runner" not in base64.b64decode(shown.src.partition(",")[2])


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP", "TIFF"])
def test_of_a_runner_only_png_is_opened(kind: str) -> None:
    file = encoded(Image.new("RGB", (30, 20)), kind)
    seen = Seen(file, 30, 20, file)

    for show in (drawings.thumbnail, drawings.as_model):
        with pytest.raises(BadImage):
            show(seen)


@pytest.mark.parametrize(
    ("preprocessing", "short", "seen"),
    [
        ({"preset": "unit"}, "8 × 8, grey", "8 × 8, grey, 0 to 1"),
        ({"preset": "symmetric"}, "8 × 8, grey", "8 × 8, grey, −1 to 1"),
        ({"scale": -1 / 255, "mean": -1}, "8 × 8, grey, inverted", "8 × 8, grey, 0 to 1"),
        ({"resize": "fit"}, "fitted into 8 × 8, grey", "8 × 8, grey, 0 to 255"),
        ({"per_image_standardize": True}, "8 × 8, grey", "8 × 8, grey, standardized"),
    ],
)
def test_the_preparation_is_said_in_few_words(preprocessing: dict[str, object], short: str, seen: str) -> None:
    spec = {"name": "image", "dtype": "float32", "shape": [None, 8, 8, 1]}
    version = ModelVersion(signature_json={"inputs": [spec], "outputs": []}, preprocessing_json=preprocessing)

    plan = version.image_plan

    assert input_words(version) == short
    assert plan is not None and seen_words(plan) == seen
