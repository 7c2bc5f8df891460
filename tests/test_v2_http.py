"""V2 over plain HTTP: what clients read in headers and bodies, raw bodies, rights, and errors in its own shape."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests

from tests.people import People
from tests.running_portal import RunningPortal, wait_for
from tests.served_models import scores
from tests.small_portal import SmallPortal

pytestmark = pytest.mark.portal

INFER = "/v2/models/seen/infer"
BODY = {"inputs": [{"name": "pixels", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": [0.5] * 64}]}


def test_json_in_and_out_with_nested_or_flat_data(served: RunningPortal) -> None:
    api = served.client("predict")
    nested = np.full((1, 8, 8, 1), 0.5).tolist()

    flat = api.post(INFER, json=BODY | {"id": "42"})
    deep = api.post("/v2/models/seen/versions/1/infer", json={"inputs": [{**BODY["inputs"][0], "data": nested}]})

    assert flat.status_code == 200, flat.text
    assert "Inference-Header-Content-Length" not in flat.headers
    answer = flat.json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("seen", "1", "42")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("scores", "FP32", [1, 3])
    assert output["data"] == pytest.approx(scores(np.full((1, 8, 8, 1), 0.5))[0].tolist(), abs=1e-5)
    assert deep.json()["outputs"] == answer["outputs"]


def test_a_picture_is_asked_about_with_plain_curl(
    served: RunningPortal, digit: Callable[[str], bytes], tmp_path: Path
) -> None:
    picture = tmp_path / "seven.png"
    picture.write_bytes(digit("seven"))
    key = served.client("predict").headers["Authorization"]

    done = subprocess.run(
        ["curl", "-sS", "-i", "--data-binary", f"@{picture}", "-H", "Inference-Header-Content-Length: 0",
         "-H", f"Authorization: {key}", f"{served.url}{INFER}"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip

    head, _, body = done.stdout.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"inference-header-content-length: ")[1].split(b"\r\n")[0])
    (output,) = json.loads(body[:length])["outputs"]
    told = served.client().ask("seen", digit("seven"), top=3).json()["predictions"][0]["top"]
    values = np.frombuffer(body[length:], "<f4")
    assert (output["shape"], output["parameters"]) == ([1, 3], {"binary_data_size": 12})
    assert [values[best["index"]] for best in told] == pytest.approx([best["score"] for best in told])


@pytest.mark.parametrize(("shape", "status"), [([1], 200), ([1, 1], 200), ([2], 400)])
def test_a_lone_picture_behind_the_json_needs_no_size(
    served: RunningPortal, digit: Callable[[str], bytes], shape: list[int], status: int
) -> None:
    """OVMS has it so: without `binary_data_size` the rest of the body is the picture, without a length in front."""
    picture = digit("seven")
    wanted = [{"name": "scores", "parameters": {"classification": 1}}]
    text = json.dumps({"inputs": [{"name": "pixels", "shape": shape, "datatype": "BYTES"}], "outputs": wanted}).encode()

    answer = served.client().post(
        INFER, data=text + picture, headers={"Inference-Header-Content-Length": str(len(text))}
    )

    assert answer.status_code == status, answer.text
    if status == 200:
        best = served.client().ask("seen", picture, top=1).json()["predictions"][0]["top"][0]
        assert answer.json()["outputs"][0]["data"] == [f"{best['score']:f}:{best['index']}:{best['label']}"]


def test_a_raw_tensor_needs_no_description(served: RunningPortal) -> None:
    answer = served.client().post(
        "/v2/models/pair/infer", data=b"1234", headers={"Inference-Header-Content-Length": "0"}
    )

    assert answer.status_code == 400  # two inputs
    assert "one input" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": []}, "at least one input"),
        ({"inputs": [{**BODY["inputs"][0], "shape": [1, 8, 8, 3]}]}, "shape"),
        ({"inputs": [{**BODY["inputs"][0], "shape": [-1, 64]}]}, "whole numbers from 0"),
        ({"inputs": [{**BODY["inputs"][0], "shape": [1] * 33}]}, "more than 32 axes"),
        ({"inputs": [{**BODY["inputs"][0], "shape": [1, 2**31]}]}, "2,147,483,648 values or more"),
        ({"inputs": [{**BODY["inputs"][0], "datatype": "INT64"}]}, "FP32"),
        ({"inputs": [{**BODY["inputs"][0], "name": "x"}]}, "unexpected inference input"),
        ({"outputs": [{"name": "x"}]}, "unexpected inference output"),
        ({"outputs": [{"name": "scores", "parameters": {"classification": 0}}]}, "classification"),
        ({"parameters": {"triton_x": 1}}, "reserved"),
        ({"parameters": []}, "object"),
        ({"id": 5}, "id"),
    ],
)
def test_what_is_wrong_is_said_in_the_protocols_own_shape(
    served: RunningPortal, change: dict[str, Any], words: str
) -> None:
    answer = served.client().post(INFER, json=BODY | change)

    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_addresses_that_are_none_and_wrong_verbs(served: RunningPortal) -> None:
    api = served.client()

    assert [api.get(path).status_code for path in ("/v2/nothing", "/v2/models/seen/nothing", INFER)] == [404, 404, 405]
    assert api.get("/v2/models/nobody").json()["error"].startswith("Request for unknown model: 'nobody' is not found")
    assert api.post("/v2/repository/main/index").status_code == 501
    assert api.delete("/v2/models/seen").json() == {"error": "Method Not Allowed"}
    assert api.delete("/v2/models/seen").headers["Allow"] == "GET, HEAD"
    assert api.get(INFER).headers["Allow"] == "POST"


def test_statistics_that_a_process_does_not_tell_are_not_zeros(served: RunningPortal) -> None:
    api = served.client("manage")
    process = psutil.Process(api.pid("pair"))

    process.suspend()
    try:
        own, every = api.get("/v2/models/pair/stats"), api.get("/v2/models/stats")
    finally:
        process.resume()

    assert (own.status_code, list(own.json())) == (503, ["error"])
    assert own.headers["Retry-After"] == "1"
    assert every.status_code == 200
    assert "seen" in (names := [row["name"] for row in every.json()["model_stats"]])
    assert "pair" not in names
    wait_for(lambda: api.get("/v2/models/pair/stats").status_code == 200, 60, "told again")


def test_bodies_may_be_compressed_but_not_without_end(small_portal: SmallPortal) -> None:
    api = small_portal.portal.client("predict")
    address = "/v2/models/digits/infer"

    bomb = api.post(address, data=gzip.compress(bytes(8 * 2**20)), headers={"Content-Encoding": "gzip"})
    large = api.post(address, data=bytes(2**20 + 1))
    unknown = api.post(address, data=b"{}", headers={"Content-Encoding": "br"})

    assert [bomb.status_code, large.status_code] == [413, 413]
    assert (unknown.status_code, unknown.headers["Accept-Encoding"]) == (415, "gzip, deflate")
    assert {next(iter(answer.json())) for answer in (bomb, large, unknown)} == {"error"}


# ---- rights


def test_only_health_is_open_to_all(served: RunningPortal) -> None:
    anonymous = served.client(None)

    assert anonymous.get("/v2/health/live").json() == {"live": True}
    assert anonymous.get("/v2/health/ready").json() == {"ready": True}
    for method, path in [
        ("GET", "/v2"), ("GET", "/v2/models/seen"), ("POST", INFER), ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/seen/load"), ("POST", "/v2/repository/models/seen/unload"),
        ("GET", "/v1/models"), ("POST", "/v1/models/seen:predict"),
    ]:  # fmt: skip
        answer = anonymous.request(method, path)
        assert (answer.status_code, list(answer.json())) == (401, ["error"]), path


def test_a_key_that_only_predicts_cannot_load(served: RunningPortal, people: People) -> None:
    predicts, outsider = served.client("predict"), people.client("loader")

    assert predicts.get("/v2/models/seen").status_code == 200
    assert predicts.post("/v2/repository/models/seen/unload").status_code == 403
    assert predicts.post("/v2/repository/models/seen/load").status_code == 403
    assert outsider.post(INFER, json=BODY).status_code == 403  # its user may see, not ask


def test_without_a_key_where_the_portal_says_so(small_portal: SmallPortal) -> None:
    anonymous = small_portal.portal.client(None)

    assert anonymous.get("/v2/models").status_code == 200
    assert anonymous.post("/v2/models/digits/infer", json=BODY).status_code == 404  # asked, and not loaded
    assert anonymous.post("/v1/models/digits:predict", json={"instances": [1]}).status_code == 404
    assert anonymous.post("/v2/repository/models/digits/load").status_code == 401
    assert anonymous.post("/v2/models/digits/infer", headers={"Authorization": "Bearer mp_no"}).status_code == 401


def test_the_password_for_a_proxy_is_no_key(small_portal: SmallPortal, digit: Callable[[str], bytes]) -> None:
    """A proxy with a log-in of its own passes it on."""
    behind = small_portal.portal.client(None)
    behind.headers["Authorization"] = "Basic eDp5"

    asked = [
        behind.ask("digits", digit("seven")),
        behind.post("/v2/models/digits/infer", json=BODY),
        behind.post("/v1/models/digits:predict", json={"instances": [1]}),
    ]

    assert [answer.status_code for answer in asked] == [409, 404, 404]  # asked, and not loaded
    assert behind.post("/v2/repository/models/digits/load").status_code == 401


def test_a_name_that_is_not_ours_is_for_django_to_refuse(served: RunningPortal) -> None:
    key = str(served.client().headers["Authorization"])

    answer = requests.post(
        f"{served.url}{INFER}", json=BODY, headers={"Host": "elsewhere.example", "Authorization": key}, timeout=30
    )

    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert "PORTAL_ALLOWED_HOSTS" in answer.json()["error"]


def test_a_client_that_names_no_host_is_answered_by_the_address_it_reached(served: RunningPortal) -> None:
    key = str(served.client().headers["Authorization"])
    asked = json.dumps(BODY)

    ready = said_to(served, "GET /v2/health/ready HTTP/1.0\r\n\r\n")
    answer = said_to(
        served, f"POST {INFER} HTTP/1.0\r\nAuthorization: {key}\r\nContent-Length: {len(asked)}\r\n\r\n{asked}"
    )

    assert ready == (200, {"ready": True})
    assert (answer[0], answer[1]["model_name"]) == (200, "seen")


def said_to(portal: RunningPortal, request: str) -> tuple[int, Any]:
    """The status and the JSON of the answer; the request asks for the end of its connection."""
    said = b""
    with socket.create_connection(("127.0.0.1", portal.port), 30) as connection:
        connection.sendall(request.encode())
        while data := connection.recv(65536):
            said += data
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_others_are_answered_while_a_request_with_very_many_rows_is_computed(served: RunningPortal) -> None:
    api, rows = served.client("predict"), 200_000
    head = json.dumps(
        {
            "inputs": [
                {"name": "pixels", "shape": [rows, 8, 8, 1], "datatype": "FP32",
                 "parameters": {"binary_data_size": rows * 256}}
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()  # fmt: skip
    body, headers = head + bytes(rows * 256), {"Inference-Header-Content-Length": str(len(head))}
    pid, waits = served.client().pid("seen"), []
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(lambda: api.post(INFER, data=body, headers=headers))
        while not large.done():
            began = time.monotonic()
            assert api.post(INFER, json=BODY).status_code == 200
            waits.append(time.monotonic() - began)

    answer = large.result()
    took_s = answer.elapsed.total_seconds()
    print(f"{rows} rows in {took_s:.1f} s; {len(waits)} answers meanwhile, the slowest after {max(waits):.2f} s")
    assert answer.status_code == 200, answer.text
    assert len(answer.content) > rows * 12
    assert max(waits) < max(2.0, took_s / 2)
    assert served.client().pid("seen") == pid
