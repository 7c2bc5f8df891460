"""Uploads: streamed to disk in front of Django, refused before they are read, and nothing stays of what failed."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from pytest_django import Settings

from inference.errors import DiskFull, TooLarge
from inference.refusal import size_words
from models_app.services.files import check_disk
from portal.lean.app import LeanApplication
from portal.lean.pace import Pace
from portal.lean.uploads import FormReceiver
from tests.running_portal import Api, RunningPortal, wait_for
from tests.small_portal import SMALL_UPLOAD_BYTES, SmallPortal

pytestmark = pytest.mark.portal

KIND = "multipart/form-data; boundary=frontier"
GROWTH_LIMIT_BYTES = 200 * 10**6


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    label = f'; filename="{filename}"' if filename is not None else ""
    return f'--frontier\r\nContent-Disposition: form-data; name="{name}"{label}\r\n\r\n'.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--frontier--\r\n"


def post(api: Api, body: bytes, address: str = "/api/models/") -> requests.Response:
    return api.post(address, data=body, headers={"Content-Type": KIND})


def kept(portal: RunningPortal) -> tuple[int, int, int]:
    """How many folders are in the store, how many part-files, how many models."""
    store, uploads = portal.data_dir / "models", portal.data_dir / "uploads"
    return len(list(store.iterdir())), len(list(uploads.iterdir())), portal.client().get("/api/models/").json()["count"]


@pytest.fixture
def nothing_stays(portal: RunningPortal) -> Iterator[None]:
    before = kept(portal)
    yield
    wait_for(lambda: kept(portal) == before or None, 10, f"as before: {before}, not {kept(portal)}")


def open_request(portal: RunningPortal, token: str | None, method: str, address: str, **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=20)
    connection.putrequest(method, address)
    if token:
        connection.putheader("Authorization", token)
    for name, value in {"Content-Type": KIND, **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    return connection


# ---- forms


@pytest.mark.parametrize(
    ("labels", "filename"),
    [
        (b'["a", "b"]', None),
        (b"a\r\nb\r\n", None),
        (b"\xef\xbb\xbfa\nb\n", "labels.txt"),
        (b'["a","b"]', "labels.json"),
    ],
    ids=["JSON", "text", "file of lines", "file of JSON"],
)
def test_fields_come_in_any_order_and_labels_in_any_form(api: Api, labels: bytes, filename: str | None) -> None:
    name = f"ordered-{filename or len(labels)}".replace(".", "-")
    body = form(
        part("file", b"no model", "C:\\models\\x.keras"),
        part("options", b'{"threads": 1}'),
        part("labels", labels, filename),
        part("preprocessing", b'{"preset": "unit"}'),
        part("description", "größer".encode()),
        part("name", name.encode()),
    )

    answer = post(api, body)

    assert answer.status_code == 201, answer.text
    version = answer.json()["versions"][0]
    assert (version["labels"], version["options"]) == (["a", "b"], {"threads": 1})
    assert version["preprocessing"] == {"preset": "unit"}
    assert (answer.json()["description"], answer.json()["owner"]) == ("größer", "admin")
    assert (version["size_bytes"], version["version"]) == (8, 1)
    assert api.delete(f"/api/models/{name}/").status_code == 204


@pytest.mark.parametrize("end", [b"", b"%0A"], ids=["plain", "newline"])
def test_a_file_may_be_named_in_the_extended_form_alone(api: Api, end: bytes) -> None:
    label = b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e6%97%a5.keras" + end
    body = form(part("name", b"extended"), b"--frontier\r\n" + label + b"\r\n\r\nno model\r\n")

    answer = post(api, body)

    assert answer.status_code == 201, answer.text
    file = api.get("/api/models/extended/versions/1/file/")
    assert "%E6%97%A5" in file.headers["Content-Disposition"]
    assert api.delete("/api/models/extended/").status_code == 204


def test_a_file_name_that_is_no_utf8_costs_its_letters_and_not_the_upload(api: Api) -> None:
    body = form(part("name", b"in-latin-1"), part("file", b"no model", "gr?n.keras").replace(b"?", b"\xfc"))

    answer = post(api, body)

    assert answer.status_code == 201, answer.text
    file = api.get("/api/models/in-latin-1/versions/1/file/")
    assert "gr%EF%BF%BDn.keras" in file.headers["Content-Disposition"]
    assert api.delete("/api/models/in-latin-1/").status_code == 204


FILE = part("file", b"no model", "x.keras")


@pytest.mark.parametrize(
    ("parts", "status", "field"),
    [
        ([FILE], 400, "name"),
        ([FILE, part("name", b"not a slug!")], 400, "name"),
        ([FILE, part("name", b"n" * 101)], 400, "name"),
        ([FILE, part("name", b"digits")], 400, "name"),
        ([part("name", b"a")], 400, "file"),
        ([part("name", b"a"), part("file", b"as text")], 400, "file"),
        ([part("name", b"a"), part("file", b"", "")], 400, "file"),
        ([part("name", b"a"), part("file", b"x", "").replace(b'filename=""', b"filename*=klingon''%e6")], 400, "file"),
        ([part("name", b"a"), part("model", b"\xff" * 10, "x.keras")], 400, "file"),
        ([part("name", b"a"), FILE, FILE], 400, "file"),
        ([part("name", b"a"), FILE, part("labels", b'["a"')], 400, "labels"),
        ([part("name", b"a"), FILE, part("labels", b"\xff\xfe", "labels.txt")], 400, "labels"),
        ([part("name", b"a"), FILE, part("preprocessing", b"{")], 400, "preprocessing"),
        ([part("name", b"a"), FILE, part("preprocessing", b'{"x": 1}')], 400, "preprocessing"),
        ([part("name", b"a"), FILE, part("postprocessing", b"[]")], 400, "postprocessing"),
        ([part("name", b"a"), FILE, part("options", b'{"precision": "f64"}')], 400, "options"),
        ([part("name", b"a"), FILE, part("engine", b"pytorch")], 400, "engine"),
        ([part("name", b"a"), FILE, part("description", b"d" * 10_001)], 400, "description"),
        ([part("name", b"a\0b"), FILE], 400, "name"),
        ([part("name", b"a"), FILE, part("description", b"d" * (2**20 + 1))], 413, None),
        ([part("name", b"a"), FILE, *[part(f"f{i}", b"") for i in range(50)]], 413, None),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_taken_names_the_field_and_leaves_nothing(
    api: Api, nothing_stays: None, parts: list[bytes], status: int, field: str | None
) -> None:
    answer = post(api, form(*parts))

    assert answer.status_code == status, answer.text
    assert list(answer.json().get("fields", {})) == ([field] if field else [])
    if field not in {"name", "description"}:
        assert post(api, form(*parts), "/api/models/digits/versions/").status_code == status


def test_a_form_of_another_kind_or_cut_off_is_refused(api: Api, nothing_stays: None) -> None:
    as_json = api.post("/api/models/", json={"name": "x"})
    as_form = api.post("/api/models/", data={"name": "x"})
    cut_off = post(api, part("name", b"x") + FILE)
    unknown_model = post(api, form(FILE), "/api/models/no-such/versions/")

    assert [as_json.status_code, as_form.status_code] == [415, 415]
    assert as_json.json()["code"] == "unsupported_media_type"
    assert (cut_off.status_code, cut_off.json()["code"]) == (400, "validation_error")
    assert (unknown_model.status_code, unknown_model.json()["code"]) == (404, "not_found")


# ---- before the body


def test_who_may_not_upload_hears_it_before_the_body(portal: RunningPortal, api: Api, nothing_stays: None) -> None:
    outsider = str(portal.client("predict").headers["Authorization"])
    insider = str(api.headers["Authorization"])
    cases: list[tuple[str | None, dict[str, str], int]] = [
        (None, {"Content_Length": "1000000000"}, 401),
        (outsider, {"Content_Length": "1000000000"}, 403),
        (outsider, {"Transfer_Encoding": "chunked"}, 403),
        (insider, {"Content_Length": str(10 * 2**30)}, 413),
        (insider, {"Content_Length": "1000", "Content_Type": "application/zip"}, 415),
    ]

    for token, headers, status in cases:
        for method, address in (
            ("POST", "/api/models/"),
            ("POST", "/api/models/digits/versions/"),
            ("PUT", "/api/model/"),
        ):
            if method == "PUT" and status == 415:
                continue
            began = time.monotonic()
            connection = open_request(portal, token, method, address, **headers)
            answer = connection.getresponse()
            assert (answer.status, set(json.loads(answer.read())) >= {"code", "detail"}) == (status, True)
            assert time.monotonic() - began < 4
            connection.close()


def test_a_version_of_a_model_that_does_not_exist_is_refused_before_the_body(portal: RunningPortal, api: Api) -> None:
    began = time.monotonic()
    token, address = str(api.headers["Authorization"]), "/api/models/never-heard-of/versions/"
    connection = open_request(portal, token, "POST", address, Content_Length="1000000000", Content_Type=KIND)

    answer = connection.getresponse()

    assert (answer.status, json.loads(answer.read())["code"]) == (404, "not_found")
    assert time.monotonic() - began < 4
    connection.close()


def test_more_than_a_request_may_hold_is_a_413(small_portal: SmallPortal) -> None:
    api = small_portal.portal.client()
    too_much = b"x" * (2**20 + 1)

    announced = api.post("/api/models/digits/predict/", data=too_much, headers={"Content-Type": "application/json"})
    counted = api.post(
        "/api/models/digits/predict/", data=iter([too_much]), headers={"Content-Type": "application/json"}
    )
    upload = open_request(
        small_portal.portal, str(api.headers["Authorization"]), "POST", "/api/models/",
        Content_Length=str(SMALL_UPLOAD_BYTES + 2 * 2**20),
    ).getresponse()  # fmt: skip

    for answer in (announced, counted):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    refusal = {"code": "too_large", "detail": f"A file may hold at most {size_words(SMALL_UPLOAD_BYTES)}."}
    assert (upload.status, json.loads(upload.read())) == (413, refusal)
    assert api.get("/api/models/").status_code == 200


@pytest.mark.parametrize("address", ["/v2/models/digits/infer", "/api/token/"])
def test_who_sends_all_before_it_reads_gets_the_413(small_portal: SmallPortal, address: str) -> None:
    """As Python's own client does; the sockets between hold some megabytes."""
    key = str(small_portal.portal.client().headers["Authorization"])
    connection = http.client.HTTPConnection("127.0.0.1", small_portal.portal.port, timeout=60)

    connection.request("POST", address, bytes(100 * 2**20), {"Authorization": key, "Content-Type": "application/json"})

    assert connection.getresponse().status == 413
    connection.close()


def test_a_file_is_counted_as_it_comes(small_portal: SmallPortal) -> None:
    """Chunked: nobody said how much it would be. Where the disk is small it is full first."""
    portal = small_portal.portal
    api = portal.client()
    before = kept(portal)

    def body() -> Iterator[bytes]:
        yield part("name", b"endless") + part("file", b"", "x.keras")[:-2]
        for _ in range(SMALL_UPLOAD_BYTES // 2**20 + 8):
            yield bytes(2**20)

    answer = api.post("/api/models/", data=body(), headers={"Content-Type": KIND})

    expected = (507, "disk_full") if small_portal.is_disk_small else (413, "too_large")
    assert (answer.status_code, answer.json()["code"]) == expected
    assert kept(portal) == before


def test_what_the_disk_cannot_hold_is_a_507_at_once(small_portal: SmallPortal) -> None:
    if not small_portal.is_disk_small:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    token = str(small_portal.portal.client().headers["Authorization"])

    answer = open_request(
        small_portal.portal, token, "POST", "/api/models/", Content_Length=str(80 * 2**20)
    ).getresponse()

    assert (answer.status, json.loads(answer.read())["code"]) == (507, "disk_full")


@pytest.mark.parametrize(("size_bytes", "wanted"), [(2**60, "1,152,921,504.9 GB"), (2**50, "1,125,900.2 GB")])
def test_a_full_disk_says_what_it_keeps_in_reserve(
    settings: Settings, tmp_path: Path, size_bytes: int, wanted: str
) -> None:
    settings.PORTAL_UPLOADS_DIR = tmp_path

    with pytest.raises(DiskFull) as caught:
        check_disk(size_bytes)

    assert caught.value.message.startswith(
        f"To take this file, the disk must have {wanted} free, of which 268 MB stay in reserve; it has "
    )


# ---- in the middle


def test_an_aborted_upload_leaves_no_file_and_no_row(portal: RunningPortal, api: Api, nothing_stays: None) -> None:
    uploads = portal.data_dir / "uploads"
    connection = open_request(
        portal, str(api.headers["Authorization"]), "POST", "/api/models/", Content_Length="50000000"
    )
    connection.send(part("name", b"aborted") + part("file", bytes(2**20), "x.keras"))
    wait_for(lambda: list(uploads.iterdir()) or None, 10, "a part-file")

    connection.close()

    wait_for(lambda: not list(uploads.iterdir()) or None, 10, "no part-file")
    assert api.get("/api/models/aborted/").status_code == 404


def test_two_uploads_at_once_make_two_versions_and_one_name_is_given_once(portal: RunningPortal, api: Api) -> None:
    def version(_: int) -> int:
        return int(post(portal.client(), form(FILE), "/api/models/twins/versions/").json()["version"])

    def creation(_: int) -> int:
        return post(portal.client(), form(FILE, part("name", b"contested"))).status_code

    assert post(api, form(FILE, part("name", b"twins"))).status_code == 201
    with ThreadPoolExecutor(4) as pool:
        numbers = sorted(pool.map(version, range(4)))
        statuses = sorted(pool.map(creation, range(4)))

    assert numbers == [2, 3, 4, 5]
    assert statuses == [201, 400, 400, 400]
    assert len(api.get("/api/models/contested/").json()["versions"]) == 1
    for name in ("twins", "contested"):
        assert api.delete(f"/api/models/{name}/").status_code == 204


class Zeros:
    """A form with a file of a gigabyte of zeros, made while it is sent."""

    head = part("name", b"gigabyte") + part("file", b"", "zeros.keras")[:-2]
    tail = b"\r\n--frontier--\r\n"
    size = 10**9

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        block = bytes(10**6)
        for _ in range(self.size // len(block)):
            yield block
        yield self.tail


def peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_gigabyte_goes_up_and_down_through_little_memory(portal: RunningPortal, api: Api) -> None:
    processes = portal.web()
    for process in processes:
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak counts from here
    before = {process.pid: process.memory_info().rss for process in processes}

    began = time.monotonic()
    answer = api.post("/api/models/", data=Zeros(), headers={"Content-Type": KIND})
    up_s = time.monotonic() - began
    assert answer.status_code == 201, answer.text
    began = time.monotonic()
    received = sum(
        len(chunk) for chunk in api.get("/api/models/gigabyte/versions/1/file/", stream=True).iter_content(2**20)
    )
    down_s = time.monotonic() - began
    growth = {process.pid: peak_bytes(process) - before[process.pid] for process in processes}

    print(f"1 GB up in {up_s:.1f} s, down in {down_s:.1f} s, growth {[n // 10**6 for n in growth.values()]} MB")
    assert received == Zeros.size
    assert growth
    assert max(growth.values()) < GROWTH_LIMIT_BYTES
    version = api.checked("gigabyte")
    assert version["status"] == "rejected"
    assert str(version["status_detail"]).endswith(".")
    assert api.delete("/api/models/gigabyte/").status_code == 204


# ---- slow senders; the limit is lowered inside this process, so these have no portal


Messages = MutableMapping[str, Any]


def dribble(first: bytes) -> Any:
    """A client that sends `first` and then a byte from time to time, for ever."""
    chunks = iter([first])

    async def receive() -> Messages:
        if (chunk := next(chunks, None)) is None:
            await asyncio.sleep(0.02)
            chunk = b"."
        return {"type": "http.request", "body": chunk, "more_body": True}

    return receive


async def read_all(scope: Messages, receive: Any, send: Any) -> None:
    """Stands where Django stands: reads the whole body first."""
    while (message := await receive())["type"] != "http.disconnect" and message.get("more_body"):
        pass


def test_a_dribbling_body_is_a_408(settings: Settings) -> None:
    settings.PORTAL_STALL_S = 0.3
    sent: list[Messages] = []

    async def send(message: Messages) -> None:
        sent.append(message)

    async def ask() -> None:
        scope = {"type": "http", "method": "POST", "path": "/api/token/", "headers": []}
        await asyncio.wait_for(LeanApplication(read_all)(scope, dribble(b"{" * 3000), send), 20)

    asyncio.run(ask())

    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "request_timeout"


def test_a_dribbling_upload_is_a_408_and_leaves_no_file(settings: Settings, tmp_path: Path) -> None:
    settings.PORTAL_STALL_S = 0.3
    settings.PORTAL_UPLOADS_DIR = tmp_path
    receiver = FormReceiver("frontier")

    async def receive() -> None:
        with pytest.raises(Exception, match="stopped coming"):
            await asyncio.wait_for(receiver.run(Pace(dribble(FILE[:-2] + bytes(3000)))), 20)

    asyncio.run(receive())
    assert len(list(tmp_path.iterdir())) == 1
    receiver.discard()

    assert list(tmp_path.iterdir()) == []


def test_what_is_passed_over_counts_too(settings: Settings, tmp_path: Path) -> None:
    """A form may begin and end with something that is no part of it."""
    settings.PORTAL_UPLOADS_DIR = tmp_path
    settings.PORTAL_MAX_UPLOAD_BYTES = 2**20
    receiver = FormReceiver("frontier")
    form = part("name", b"endless") + b"--frontier--\r\n"
    blocks = iter([form, *[bytes(2**20)] * 40])

    async def receive() -> Messages:
        return {"type": "http.request", "body": next(blocks), "more_body": True}

    async def run() -> None:
        with pytest.raises(TooLarge):
            await asyncio.wait_for(receiver.run(Pace(receive)), 20)

    asyncio.run(run())
    receiver.discard()

    assert sum(1 for _ in blocks) >= 6


def test_a_slow_upload_does_not_keep_others_waiting(portal: RunningPortal, api: Api) -> None:
    connections = [
        open_request(portal, str(api.headers["Authorization"]), "POST", "/api/models/", Content_Length="50000000")
        for _ in range(20)
    ]
    for connection in connections:
        connection.send(part("name", b"slow"))
    slowest = 0.0

    for _ in range(20):
        began = time.monotonic()
        assert api.get("/api/models/digits/").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    for connection in connections:
        connection.close()

    print(f"slowest answer beside 20 stalled uploads: {slowest * 1000:.0f} ms")
    assert slowest < 5
