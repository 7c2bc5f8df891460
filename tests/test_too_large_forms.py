"""A body that is too large, or that the disk has no room for, is answered by a page where a browser sent it, by JSON
where a program did, and by a 404 where there is nothing at its address."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import orjson
import pytest

from inference.refusal import size_words
from portal.lean.app import LeanApplication
from portal.lean.asgi import Application, Message, Receive, Scope, Send

LIST = "/admin/models_app/modelversion/"
FORM = f"{LIST}add/"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
ANNOUNCED = [(b"content-length", b"200000000")]


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    """In Django's place: it reads the body and has nothing to say."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def post(
    path: str,
    accept: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes = b"x",
    application: Application = reads_all,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    scope["headers"] = [(b"accept", accept.encode()), *headers]
    asyncio.run(LeanApplication(application)(scope, receive, send))
    said = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], said, b"".join(message.get("body", b"") for message in sent[1:])


def test_a_browser_without_a_script_gets_a_page_that_says_what_to_do() -> None:
    status, headers, body = post(FORM, BROWSER, ANNOUNCED)

    assert (status, headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert "script-src 'self'" in headers["content-security-policy"]
    assert int(headers["content-length"]) == len(body)
    for words in ("Without JavaScript a file may have 100 MB", "Go back", "import_model", "portal/portal.css"):
        assert words in body.decode()


def test_the_limit_of_all_uploads_holds_for_the_form_too(settings: Any) -> None:
    settings.PORTAL_MAX_UPLOAD_BYTES = 30_000_000

    status, _, body = post(FORM, BROWSER, [(b"content-length", b"40000000")])

    assert status == 413
    assert "A file may hold at most 30.0 MB. Nothing was kept. Go back and choose a smaller one." in body.decode()


def test_pictures_that_are_too_large_together_lead_back_to_the_list() -> None:
    status, _, body = post(LIST, BROWSER, ANNOUNCED)

    assert status == 413
    assert "A request to this address may hold at most 67.1 MB. Send fewer files or smaller ones." in body.decode()
    assert f'href="{LIST}">Back to Models</a>' in body.decode()


def test_a_form_without_a_length_is_counted_and_answered_by_the_page_too(settings: Any) -> None:
    settings.PORTAL_FORM_UPLOAD_BYTES = 0

    status, _, body = post(FORM, BROWSER, [(b"transfer-encoding", b"chunked")], bytes(2**21 + 1))

    assert status == 413
    assert b"Go back" in body


@pytest.mark.parametrize(("path", "accept"), [(FORM, "*/*"), ("/api/token/", BROWSER), ("/try/digits/", "*/*")])
def test_programs_get_json(path: str, accept: str) -> None:
    status, headers, body = post(path, accept, ANNOUNCED)

    assert (status, headers["content-type"]) == (413, "application/json")
    assert orjson.loads(body)["code"] == "too_large"


@pytest.mark.parametrize(
    ("path", "most_bytes"),
    [
        ("/api/token/", 2**20),
        ("/login/", 2**20),
        ("/admin/login/", 2**20),
        ("/api/models/digits/load/", 2**21),
        ("/api/models/digits/versions/1/", 2**21),
        ("/try/digits/load/", 2**21),
        ("/nothing-here", 2**21),
        ("/api/models/digits/predict/", 2**26),
        ("/api/models/digits/versions/1/predict/", 2**26),
        ("/api/image/", 2**26),
        ("/try/digits/", 2**26),
        ("/admin/models_app/modelversion/", 2**26),
        ("/v2/models/digits/infer", 2**26),
    ],
)
def test_only_where_pictures_and_tensors_go_a_request_may_hold_much(path: str, most_bytes: int) -> None:
    status, _, body = post(path, "*/*", [(b"content-length", b"%d" % (most_bytes + 1))])
    taken, _, _ = post(path, "*/*", [(b"content-length", b"%d" % most_bytes)])

    assert (status, taken) == (413, 204)
    assert f"may hold at most {size_words(most_bytes)}." in orjson.loads(body)["detail"]


@pytest.mark.parametrize("headers", [ANNOUNCED, [(b"transfer-encoding", b"chunked")]])
def test_what_lacks_only_its_slash_is_told_so(settings: Any, headers: list[tuple[bytes, bytes]]) -> None:
    settings.PORTAL_MAX_REQUEST_BYTES = 100

    status, _, body = post("/api/models", "*/*", headers, bytes(101))

    assert (status, orjson.loads(body)["code"]) == (404, "not_found")
    assert "Addresses end with a slash." in orjson.loads(body)["detail"]


def test_a_full_disk_for_a_body_on_its_way_to_django_is_a_507() -> None:
    async def spools(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise OSError(errno.ENOSPC, "No space left on device")

    status, headers, body = post("/api/models/digits/load/", "*/*", [], application=spools)

    assert (status, headers["content-type"]) == (507, "application/json")
    assert orjson.loads(body)["code"] == "disk_full"
