"""Models of texts over every protocol: a Keras file and its export with the vocabulary inside, pictures that a model
decodes itself, ONNX. Every answer is compared with Keras' or is known beforehand."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from inference.errors import BadInput
from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

FILES = {
    **{"moods": "moods.keras", "pets": "pets.keras", "animals": "animals.keras"},
    **{"decoding": "decoding.zip", "upper": "upper.onnx"},
}
ENGINES = {**dict.fromkeys(FILES, "tensorflow"), "upper": "onnxruntime"}
REVIEWS = [["the film was good"], ["awful café"]]
RAW = {"Inference-Header-Content-Length": "0"}


@pytest.fixture(scope="module")
def api(portal: RunningPortal, text_models: Path) -> Iterator[Api]:
    client = portal.client("manage")
    for name, file in FILES.items():
        labels = {"labels": '["bad", "good"]'} if name == "moods" else {}
        client.upload(name, text_models / file, engine=ENGINES[name], **labels)
    for name in FILES:
        version = client.checked(name)
        assert version["status"] == "ready", version["status_detail"]
        client.load(name)
    yield client
    for name in FILES:
        client.delete(f"/api/models/{name}/", params={"unload": "true"})


@pytest.fixture(scope="module")
def moods(text_models: Path) -> list[float]:
    return [float(score) for score in (text_models / "moods.txt").read_text().split()]


def test_a_text_model_says_that_it_takes_texts(api: Api) -> None:
    assert api.version("moods")["inputs"] == [{"name": "input_layer", "dtype": "string", "shape": [None, 1]}]
    assert api.get("/v2/models/moods").json()["inputs"][0]["datatype"] == "BYTES"
    assert api.get("/v2/models/moods/config").json()["input"][0]["data_type"] == "TYPE_STRING"
    signature = api.get("/v1/models/moods/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert signature["serving_default"]["inputs"]["input_layer"]["dtype"] == "DT_STRING"


def test_texts_are_answered_as_keras_answers_them(api: Api, moods: list[float]) -> None:
    answer = api.post("/api/models/moods/predict/", json={"instances": REVIEWS})

    (output,) = answer.json()["predictions"][0]["outputs"]
    assert np.ravel(output["data"]) == pytest.approx(moods, rel=1e-5)
    both = api.post("/api/models/pets/predict/", json={"instances": [{"word": ["cat"], "size": [1, 2]}]})
    assert both.status_code == 200, both.text


def test_a_model_says_that_it_gives_texts_also_where_keras_says_numbers(api: Api) -> None:
    inputs = [{"name": "numbers", "shape": [1, 2], "datatype": "INT64", "data": [2, 1]}]

    (answer,) = api.post("/v2/models/animals/infer", json={"inputs": inputs}).json()["outputs"]

    assert (answer["datatype"], answer["data"]) == ("BYTES", ["dog", "cat"])
    assert api.version("animals")["outputs"] == [{"name": "words", "dtype": "string", "shape": [None, 2]}]
    assert api.get("/v2/models/animals").json()["outputs"][0]["datatype"] == "BYTES"
    signature = api.get("/v1/models/animals/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert signature["serving_default"]["outputs"]["words"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    ("instances", "said"),
    [(["no list"], "takes the shape"), ([[7]], "takes texts"), ([["a", "b"]], "takes the shape")],
)
def test_what_the_model_does_not_take_is_named(api: Api, instances: Any, said: str) -> None:
    answer = api.post("/api/models/moods/predict/", json={"instances": instances})

    assert (answer.status_code, answer.json()["code"]) == (422, BadInput.code)
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritonclient_sends_and_takes_texts(portal: RunningPortal, api: Api, is_binary: bool) -> None:
    words = np.array(["hello", "a\0b"], object)
    given = triton.InferInput("text", [2], "BYTES")
    given.set_data_from_numpy(words, binary_data=is_binary)
    client = triton.InferenceServerClient(f"127.0.0.1:{portal.port}")

    wanted = [triton.InferRequestedOutput("capitals", binary_data=is_binary)]
    answer = client.infer(
        "upper", [given], outputs=wanted, headers={"Authorization": str(api.headers["Authorization"])}
    )

    said = answer.as_numpy("capitals").tolist()
    assert said == ([b"HELLO", b"A\0B"] if is_binary else ["HELLO", "A\0B"])
    client.close()


def test_a_raw_body_is_one_text(api: Api, moods: list[float]) -> None:
    answer = api.post("/v2/models/moods/infer", data=REVIEWS[0][0].encode(), headers=RAW)

    length = int(answer.headers["Inference-Header-Content-Length"])
    assert np.frombuffer(answer.content[length:], "<f4") == pytest.approx(moods[:1], rel=1e-5)


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_the_calls_of_tensorflow_serving_take_texts_and_bytes(api: Api, moods: list[float], form: str) -> None:
    as_bytes = [{"b64": base64.b64encode(REVIEWS[1][0].encode()).decode()}]

    answer = api.post("/v1/models/moods:predict", json={form: [REVIEWS[0], as_bytes]}).json()

    assert np.ravel(answer["predictions" if form == "instances" else "outputs"]) == pytest.approx(moods, rel=1e-5)


def test_one_score_with_two_labels_is_the_second_labels(api: Api, moods: list[float]) -> None:
    """As over REST and on the try page."""
    given = {"examples": [{"input_layer": REVIEWS[0][0]}, {"input_layer": {"b64": "YXdmdWw="}}]}
    first, _ = api.post("/v1/models/moods:classify", json=given).json()["results"]
    inputs = [{"name": "input_layer", "shape": [1, 1], "datatype": "BYTES", "data": REVIEWS[0]}]
    wanted = [{"name": "dense", "parameters": {"classification": 2}}]
    v2 = api.post("/v2/models/moods/infer", json={"inputs": inputs, "outputs": wanted}).json()["outputs"][0]["data"]

    assert dict(first) == pytest.approx({"bad": 1 - moods[0], "good": moods[0]}, rel=1e-4)
    assert v2[0].endswith(":1:good") and v2[1].endswith(":0:bad")


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_answers_that_are_texts_are_no_scores(api: Api, verb: str) -> None:
    answer = api.post(f"/v1/models/upper:{verb}", json={"examples": [{"text": "a"}]})

    assert (answer.status_code, "no scores" in answer.json()["error"]) == (400, True)


def test_a_model_that_decodes_pictures_itself_gets_them_as_they_are(api: Api, digit: Callable[[str], bytes]) -> None:
    picture = {"b64": base64.b64encode(digit("seven")).decode()}

    (first,) = api.post("/v1/models/decoding:predict", json={"instances": [picture]}).json()["predictions"]
    named = api.post("/v1/models/decoding:predict", json={"instances": [{"image_bytes": picture}]}).json()

    assert named == {"predictions": [first]} and first["kind"] == "PNG"
    assert base64.b64decode(first["head_bytes"]["b64"]) == b"\x89PNG"  # named so: bytes, not text


def test_values_that_the_model_refuses_are_the_senders_error(api: Api) -> None:
    answer = api.post("/api/models/decoding/predict/", json={"instances": ["no picture"]})

    assert (answer.status_code, answer.json()["code"]) == (422, BadInput.code)
    assert "Unknown image file format" in answer.json()["detail"]
    assert api.post("/v1/models/decoding:predict", json={"instances": ["no picture"]}).status_code == 400


def test_the_engines_of_a_text_model_are_compared(api: Api) -> None:
    """On words: ONNX Runtime's answers are texts, and OpenVINO says why it has none."""
    job = api.post("/api/models/upper/versions/1/compare/").json()

    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = api.get(f"/api/jobs/{job['id']}/").json()
        return now if now["state"] in {"done", "failed"} else None

    assert wait_for(look, 120, "the comparison")["state"] == "done"
    rows = api.get("/api/models/upper/versions/1/comparison/").json()["rows"]
    assert {row["engine"]: bool(row["error"]) for row in rows} == {"onnxruntime": False, "openvino": True}


def test_a_table_of_words_stands_in_the_way_of_a_conversion(api: Api) -> None:
    def look() -> tuple[int, str] | None:
        answer = api.get("/api/models/moods/versions/1/export/", params={"format": "onnx"})
        return None if answer.status_code == 202 else (answer.status_code, answer.text)

    status, text = wait_for(look, 120, "the conversion")

    assert status == 422 and "table" in text, text


def test_the_try_page_asks_with_a_text(portal: RunningPortal, api: Api) -> None:
    page = portal.browser().get("/try/moods/").text

    assert "a text" in page and "np.full([1, 1], &quot;a text&quot;, dtype=object)" in page


def ask_by_the_form(portal: RunningPortal, name: str, text: str) -> Any:
    browser = portal.browser()
    browser.get(f"/try/{name}/")
    token = browser.cookies["csrftoken"]
    return browser.post(f"/try/{name}/", data={"instances": text, "csrfmiddlewaretoken": token})


def test_the_form_takes_a_text_a_line_and_answers_each(portal: RunningPortal, api: Api, moods: list[float]) -> None:
    page = ask_by_the_form(portal, "moods", "the film was good\n\n  awful café\n<b>bold</b>").text

    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "<b>bold" not in page
    winners = re.findall(r'<p class="winner">(\w+) <small class="num">([\d.]+) %', page)
    wanted = [("good" if score > 0.5 else "bad", f"{100 * max(score, 1 - score):.1f}") for score in moods]
    assert winners[:2] == wanted and len(winners) == 3
    assert page.count("<meter ") == 6, "the scores of both labels"


def test_the_form_still_takes_json_and_shows_texts_that_come_back(portal: RunningPortal, api: Api) -> None:
    by_line = ask_by_the_form(portal, "upper", "hello\nworld").text
    by_json = ask_by_the_form(portal, "upper", '["hello", "world"]').text

    assert "HELLO, WORLD" in by_line and "HELLO, WORLD" in by_json


def test_a_line_that_looks_like_json_is_a_text(portal: RunningPortal, api: Api) -> None:
    page = ask_by_the_form(portal, "upper", 'true\n[1, 2]\n{"a": "b"}\n["c"]').text

    assert "TRUE, [1, 2], {&quot;A&quot;: &quot;B&quot;}, [&quot;C&quot;]" in page


@pytest.mark.parametrize(("text", "said"), [("  \n ", "Nothing was written"), ("a\n" * 65, "at most 64 at once")])
def test_the_form_says_what_it_does_not_take(portal: RunningPortal, api: Api, text: str, said: str) -> None:
    assert said in ask_by_the_form(portal, "moods", text).text
