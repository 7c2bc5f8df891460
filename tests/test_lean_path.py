"""What lies in the memory of the web processes follows the database: new things at once, ended ones within a second."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable

import psutil
import pytest
import requests

from tests.running_portal import Api, RunningPortal, wait_for

pytestmark = pytest.mark.portal

REFUSED_WITHIN_S = 10.0
"""Promised is one second; a busy machine may take longer, and the figure is printed."""
ROWS = {"a": [[1, 2, 3, 4]], "b": [[0, 0, 0, 0]]}
LARGE_ROWS = 100_000
"""Beyond a megabyte in and out."""
V2 = {"inputs": [{"name": name, "shape": [1, 4], "datatype": "FP32", "data": rows[0]} for name, rows in ROWS.items()]}


def ask_all(api: Api, name: str) -> list[requests.Response]:
    """The same question on every protocol."""
    return [
        api.post(f"/api/models/{name}/predict/", json={"inputs": ROWS}),
        api.post(f"/v2/models/{name}/infer", json=V2),
        api.post(f"/v1/models/{name}:predict", json={"inputs": ROWS}),
    ]


def statuses(api: Api, name: str) -> set[int]:
    """Of every protocol, asked often enough that each web process was asked."""
    return {answer.status_code for _ in range(4) for answer in ask_all(api, name)}


def test_all_protocols_give_the_same_numbers(served: RunningPortal) -> None:
    ours, v2, v1 = (answer.json() for answer in ask_all(served.client("predict"), "pair"))

    sums = {output["name"]: output["data"] for output in ours["predictions"][0]["outputs"]}
    assert sums == {"sum": [[1.0, 2.0, 3.0, 4.0]], "total": [[10.0]]}
    assert {output["name"]: output["data"] for output in v2["outputs"]} == {
        "sum": [1.0, 2.0, 3.0, 4.0],
        "total": [10.0],
    }
    assert v1["outputs"] == sums


def test_large_questions_and_answers_are_whole_on_all_protocols(served: RunningPortal) -> None:
    api = served.client("predict")
    rows = [[n, 2, 3, 4] for n in range(LARGE_ROWS)]
    flat = [number for row in rows for number in row]
    v2 = {"inputs": [{"name": name, "shape": [LARGE_ROWS, 4], "datatype": "FP32", "data": flat} for name in "ab"]}

    ours = api.post("/api/models/pair/predict/", json={"inputs": {"a": rows, "b": rows}}).json()
    told = api.post("/v2/models/pair/infer", json=v2).json()
    v1 = api.post("/v1/models/pair:predict", json={"inputs": {"a": rows, "b": rows}}).json()

    sums = [[2 * number for number in row] for row in rows]
    assert next(o["data"] for o in ours["predictions"][0]["outputs"] if o["name"] == "sum") == sums
    assert next(o["data"] for o in told["outputs"] if o["name"] == "sum") == [n for row in sums for n in row]
    assert v1["outputs"]["sum"] == sums


def test_a_key_works_at_once_and_is_refused_soon_after_it_is_taken_away(served: RunningPortal) -> None:
    wish = {"username": "admin", "password": "a-password-of-the-tests", "name": "short lived"}
    token = requests.post(f"{served.url}/api/token/", json=wish, timeout=30).json()["token"]
    holder = Api(served.url, token)
    assert statuses(holder, "pair") == {200}

    done = served.manage(
        "shell", "-c", "from models_app.models import ApiKey; ApiKey.objects.filter(name='short lived').delete()"
    )

    ended = time.monotonic()
    assert done.returncode == 0, done.stderr
    wait_for(lambda: statuses(holder, "pair") == {401}, REFUSED_WITHIN_S, "the key refused everywhere")
    print(f"refused everywhere {time.monotonic() - ended:.2f} s after the command ended")


def test_the_rights_of_a_user_are_looked_at_again(served: RunningPortal) -> None:
    made = served.manage(
        "shell", "-c",
        "from django.contrib.auth.models import User, Permission; from models_app.services.keys import create_key\n"
        "user = User.objects.create_user('shortly')\n"
        "user.user_permissions.set(Permission.objects.filter(codename='predict_modelversion'))\n"
        "print('key', create_key(user, name='k')[1])",
    )  # fmt: skip
    holder = Api(served.url, made.stdout.split()[-1])
    assert statuses(holder, "pair") == {200}

    for change, status in (("user_permissions.clear()", 403), ("is_active = False; user.save()", 401)):
        command = (
            f"from django.contrib.auth.models import User; user = User.objects.get(username='shortly'); user.{change}"
        )
        assert served.manage("shell", "-c", command).returncode == 0
        wait_for(lambda status=status: statuses(holder, "pair") == {status}, REFUSED_WITHIN_S, f"{change}: {status}")


def test_the_use_of_a_key_is_noted(served: RunningPortal) -> None:
    api = served.client("predict")
    assert statuses(api, "pair") == {200}

    def is_noted() -> bool:
        look = (
            "from models_app.models import ApiKey; "
            "print(ApiKey.objects.filter(last_used_at=None, scope='predict', name='').count())"
        )
        return served.manage("shell", "-c", look).stdout.split()[-1] == "0"

    wait_for(is_noted, 60, "the use noted")


def test_the_newest_loaded_version_answers_from_the_first_request_on(
    served: RunningPortal, served_files: object
) -> None:
    api = served.client("manage")
    path = served_files / "pair.zip"  # type: ignore[operator]
    with path.open("rb") as file:
        posted = api.post("/api/models/pair/versions/", data={"engine": "openvino"}, files={"file": ("p.zip", file)})
    assert posted.status_code == 201, posted.text
    api.checked("pair", 2)
    try:
        for _ in range(3):
            assert api.post("/api/models/pair/versions/2/load/", params={"wait": 60}).status_code == 200
            assert [a.json()["version"] for a in (ask_all(api, "pair")[0], ask_all(api, "pair")[0])] == [2, 2]
            assert ask_all(api, "pair")[1].json()["model_version"] == "2"
            assert api.post("/api/models/pair/versions/2/unload/").status_code == 200
            assert [a.json()["version"] for a in (ask_all(api, "pair")[0], ask_all(api, "pair")[0])] == [1, 1]
            assert api.post("/api/models/pair/versions/2/predict/", json={"inputs": ROWS}).status_code == 409
    finally:
        api.delete("/api/models/pair/versions/2/", params={"unload": "true"})


def test_an_unloaded_model_is_refused_on_every_protocol_and_answers_once_loaded(served: RunningPortal) -> None:
    api = served.client("manage")

    api.unload("pair")
    refused = [answer.status_code for answer in ask_all(api, "pair")]
    api.load("pair")

    assert refused == [409, 404, 404]
    assert statuses(api, "pair") == {200}


def test_a_runner_that_was_killed_is_told_of_at_once_and_comes_back(served: RunningPortal) -> None:
    api = served.client("manage")
    process = next(p for p in served.runners() if p.pid == api.pid("pair"))

    process.kill()
    began = time.monotonic()
    first = {answer.status_code for answer in ask_all(api, "pair")}

    assert time.monotonic() - began < 5
    assert first <= {502, 503, 404, 409, 200}  # 404 and 409: it is being loaded again already
    wait_for(lambda: statuses(api, "pair") == {200}, 60, "answering again")


def test_a_client_that_leaves_frees_its_place(served: RunningPortal, digit: Callable[[str], bytes]) -> None:
    """Forty requests whose clients leave at once; the next one is answered as if they had never come."""
    api = served.client("manage")
    body = json.dumps({"images": [base64.b64encode(digit("seven")).decode()] * 64}).encode()
    head = (
        f"POST /api/models/seen/predict/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: {api.headers['Authorization']!s}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", served.port), 10) as client:
            client.sendall(head + body)

    assert api.ask("seen", digit("seven")).status_code == 200
    log = served.log()
    assert "unexpected error" not in log
    assert "Task exception was never retrieved" not in log
    assert "CancelledError" not in log


def test_a_model_that_nobody_asks_sleeps(served: RunningPortal) -> None:
    """For one second at least: a busy machine wakes it more often."""
    runner = psutil.Process(served.client().pid("seen"))
    served.client("predict").get("/v2/models/seen/stats")

    def is_asleep() -> bool:
        before, began = runner.num_ctx_switches().voluntary, time.monotonic()
        time.sleep(1)
        wakes = (runner.num_ctx_switches().voluntary - before) / (time.monotonic() - began)
        print(f"{wakes:.1f} wakes a second")
        return wakes < 5  # a heartbeat every second

    wait_for(is_asleep, 20, "few wakes in one second")
