"""TensorFlow Serving's REST calls, by curl as its documentation writes them; KServe V1 at the same addresses."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.engine_fixtures import write_models
from tests.running_portal import RunningPortal
from tests.served_models import LABELS, scores

pytestmark = pytest.mark.portal

PIXELS = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 8, 8, 1)


@pytest.fixture
def curl(served: RunningPortal) -> Callable[..., tuple[int, Any]]:
    """`curl("POST", path, data)`: the status and the decoded answer. Data are sent as `-d` sends them: as a form."""
    key = served.client("predict").headers["Authorization"]

    def call(method: str, path: str, data: str | None = None) -> tuple[int, Any]:
        command = ["curl", "-sS", "-w", "\n%{http_code}", "-X", method, f"{served.url}{path}"]
        command += ["-H", f"Authorization: {key}", *(["-d", "@-"] if data is not None else [])]
        done = subprocess.run(command, input=data, capture_output=True, text=True, timeout=60, check=True)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body)

    return call


Curl = Callable[..., tuple[int, Any]]


def test_status_and_metadata(curl: Curl) -> None:
    status, answer = curl("GET", "/v1/models/pair")

    assert status == 200
    assert answer["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert (answer["name"], answer["ready"]) == ("pair", True)  # what KServe's clients read

    status, answer = curl("GET", "/v1/models/pair/versions/1/metadata")

    assert (status, answer["model_spec"]) == (200, {"name": "pair", "signature_name": "", "version": "1"})
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["a"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["a"]["tensor_shape"]["dim"]] == ["-1", "4"]
    assert set(signature["outputs"]) == {"sum", "total"}
    assert "pair" in curl("GET", "/v1/models")[1]["models"]


def test_a_file_that_is_not_taken_has_ended_with_an_error(curl: Curl, served: RunningPortal) -> None:
    api = served.client()
    assert (
        api.post("/api/models/", data={"name": "garbage"}, files={"file": ("x.keras", b"garbage")}).status_code == 201
    )
    try:
        while (row := curl("GET", "/v1/models/garbage")[1]["model_version_status"][0])["state"] == "START":
            assert row["status"] == {"error_code": "OK", "error_message": ""}
        version = api.version("garbage")
    finally:
        api.delete("/api/models/garbage/")

    assert version["status"] == "rejected"
    assert row["state"] == "END"
    assert row["status"] == {"error_code": "INVALID_ARGUMENT", "error_message": version["status_detail"]}


def test_rows_are_answered_by_predictions(curl: Curl) -> None:
    status, answer = curl("POST", "/v1/models/seen:predict", json.dumps({"instances": PIXELS.tolist()}))
    by_name = curl(
        "POST",
        "/v1/models/seen/versions/1:predict",
        json.dumps({"signature_name": "serving_default", "instances": [{"pixels": row} for row in PIXELS.tolist()]}),
    )

    assert status == 200, answer
    np.testing.assert_allclose(answer["predictions"], scores(PIXELS), atol=1e-5)
    assert by_name[1] == answer


def test_version_0_is_the_newest_as_for_openvino_s_clients(curl: Curl) -> None:
    body = json.dumps({"instances": PIXELS.tolist()})

    assert curl("POST", "/v1/models/seen/versions/0:predict", body) == curl("POST", "/v1/models/seen:predict", body)
    assert curl("GET", "/v1/models/seen/versions/0/metadata") == curl("GET", "/v1/models/seen/metadata")


def test_columns_are_answered_by_outputs(curl: Curl) -> None:
    a, b = [[1.0, 2.0, 3.0, 4.0]], [[0.5, 0.5, 0.5, 0.5]]

    _, columns = curl("POST", "/v1/models/pair:predict", json.dumps({"inputs": {"a": a, "b": b, "passed over": 1}}))
    _, rows = curl("POST", "/v1/models/pair:predict", json.dumps({"instances": [{"a": a[0], "b": b[0]}]}))
    _, bare = curl("POST", "/v1/models/seen:predict", json.dumps({"inputs": PIXELS.tolist()}))

    assert columns == {"outputs": {"sum": [[1.5, 2.5, 3.5, 4.5]], "total": [[12.0]]}}
    assert rows == {"predictions": [{"sum": [1.5, 2.5, 3.5, 4.5], "total": [12.0]}]}
    np.testing.assert_allclose(bare["outputs"], scores(PIXELS), atol=1e-5)


def test_numbers_that_are_none_go_in_and_out_as_tokens(curl: Curl) -> None:
    status, answer = curl(
        "POST", "/v1/models/pair:predict", '{"inputs": {"a": [[NaN, Infinity, -Infinity, 0]], "b": [[0, 0, 0, 1]]}}'
    )

    assert status == 200
    assert str(answer["outputs"]["sum"]) == "[[nan, inf, -inf, 1.0]]"


def test_encoded_images_are_decoded_as_the_version_says(
    curl: Curl, served: RunningPortal, digit: Callable[[str], bytes]
) -> None:
    pictures = [digit("seven"), digit("two")]
    encoded = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]

    _, rows = curl("POST", "/v1/models/seen:predict", json.dumps({"instances": encoded}))
    _, named = curl("POST", "/v1/models/seen:predict", json.dumps({"instances": [{"pixels": e} for e in encoded]}))
    _, column = curl("POST", "/v1/models/seen:predict", json.dumps({"inputs": {"pixels": encoded}}))
    lines = [{"b64": base64.encodebytes(picture).decode().rstrip("=\n")} for picture in pictures]
    _, in_lines = curl("POST", "/v1/models/seen:predict", json.dumps({"instances": lines}))

    told = served.client().ask("seen", *pictures, top=3).json()["predictions"]
    for row, prediction in zip(rows["predictions"], told, strict=True):
        for best in prediction["top"]:
            assert row[best["index"]] == pytest.approx(best["score"], abs=1e-6)
    assert named == rows == in_lines
    assert column["outputs"] == rows["predictions"]


def test_classify_and_regress(curl: Curl) -> None:
    one = {"pixels": PIXELS[0].tolist()}
    _, answer = curl("POST", "/v1/models/seen:classify", json.dumps({"examples": [one]}))
    shared = {"context": {"b": [0, 0, 0, 0]}, "examples": [{"a": [1, 2, 3, 4]}]}
    status, _ = curl("POST", "/v1/models/pair:regress", json.dumps(shared))

    (row,) = answer["results"]
    assert [label for label, _ in row] == list(LABELS)
    np.testing.assert_allclose([score for _, score in row], scores(PIXELS)[0], atol=1e-5)
    assert status == 400  # four values for each example


HALF = "/v1/models/half_plus_three"


@pytest.fixture(scope="module")
def half_plus_three(portal: RunningPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    api, folder = portal.client("manage"), tmp_path_factory.mktemp("half")
    api.upload("half_plus_three", write_models("tests.half_plus_three", folder, 120) / "half_plus_three.zip")
    version = api.checked("half_plus_three")
    assert version["status"] == "ready", version["status_detail"]
    api.load("half_plus_three")
    yield
    api.delete("/api/models/half_plus_three/", params={"unload": "true"})


@pytest.mark.usefixtures("half_plus_three")
@pytest.mark.parametrize(
    ("address", "data", "answer"),
    [
        (f"{HALF}:predict", '{"instances": [1.0,2.0,5.0]}', {"predictions": [3.5, 4.0, 5.5]}),
        (
            f"{HALF}:regress",
            '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}',
            {"results": [3.5, 4.0]},
        ),
        (f"{HALF}:predict", '{"instances": [{"x": 1.0}, {"x": 2.0}]}', {"predictions": [3.5, 4.0]}),
        (f"{HALF}:predict", '{"inputs": [1.0, 2.0]}', {"outputs": [3.5, 4.0]}),
        (f"{HALF}:predict", '{"inputs": {"x": [1.0, 2.0]}}', {"outputs": [3.5, 4.0]}),
        (f"{HALF}:predict", '{"instances": [[1.0], [2.0]]}', {"predictions": [[3.5], [4.0]]}),
        (f"{HALF}:regress", '{"context": {"x": [1.0]}, "examples": [{}]}', {"results": [3.5]}),
    ],
)
def test_the_example_of_the_documentation(curl: Curl, address: str, data: str, answer: Any) -> None:
    """tensorflow/serving, g3doc/api_rest.md, "Example": its model, its calls, its answers."""
    assert curl("POST", address, data) == (200, answer)


def test_the_example_of_the_documentation_for_a_model_that_is_not_there(curl: Curl) -> None:
    status, answer = curl("POST", "/v1/models/half:predict", '{"instances": [1.0,5.0]}')

    assert status == 404 and answer["error"].startswith("Servable not found for request: Latest(half)")


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "words"),
    [
        ("GET", "/v1/nothing", None, 400, "Malformed request: GET /v1/nothing"),
        ("GET", "/v1/models/seen:predict", None, 400, "Malformed request"),
        ("POST", "/v1/models/seen", "{}", 400, "Malformed request"),
        ("GET", "/v1/models/nobody", None, 404, "nobody"),
        ("POST", "/v1/models/nobody:predict", '{"instances": [1]}', 404, "request: Latest(nobody)"),
        ("POST", "/v1/models/seen/versions/7:predict", '{"instances": [1]}', 404, "request: Specific(seen, 7)"),
        ("POST", "/v1/models/seen/labels/stable:predict", '{"instances": [1]}', 400, "label"),
        ("POST", "/v1/models/seen:predict", "{}", 400, "either instances or inputs"),
        ("POST", "/v1/models/seen:predict", '{"instances": [1], "inputs": [1]}', 400, "either instances or inputs"),
        ("POST", "/v1/models/seen:predict", '{"instances": []}', 400, "at least one"),
        ("POST", "/v1/models/seen:predict", '{"instances": [[1], [1, 2]]}', 400, "different lengths"),
        ("POST", "/v1/models/seen:predict", '{"signature_name": "x", "instances": [1]}', 400, "signature"),
        ("POST", "/v1/models/seen:predict", '{"instances": [{"b64": "_-"}]}', 400, "base64"),
        ("POST", "/v1/models/seen:predict", '{"instances": [{"b64": "aGk="}]}', 400, ""),
        ("POST", "/v1/models/pair:predict", '{"instances": [[1, 2, 3, 4]]}', 400, "2 inputs"),
        ("POST", "/v1/models/pair:predict", '{"inputs": {"a": [[1, 2, 3, 4]]}}', 400, "a, b"),
        ("POST", "/v1/models/pair:predict", "not json", 400, "JSON"),
        ("POST", "/v1/models/seen:explain", "{}", 501, ""),
    ],
)
def test_errors_are_in_its_own_shape(
    curl: Curl, method: str, path: str, data: str | None, status: int, words: str
) -> None:
    got, answer = curl(method, path, data)

    assert (got, list(answer)) == (status, ["error"]), answer
    assert words in answer["error"]
