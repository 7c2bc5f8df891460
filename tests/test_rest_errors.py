"""Every address below /api/ answers in one form: data, or a code with a sentence. Nothing is answered with 500."""

from __future__ import annotations

import gzip
import http.client
from urllib.parse import urlsplit

import pytest
import requests

from tests.running_portal import Api, RunningPortal

pytestmark = pytest.mark.portal

V1 = "/api/models/digits/versions/1/"


def assert_error(answer: requests.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["code"] == code
    assert answer.json()["detail"].endswith((".", "?"))
    assert set(answer.json()) <= {"code", "detail", "fields"}


@pytest.mark.parametrize(
    "address",
    [
        "/api/nothing/",
        "/api/nothing",
        "/api/models//",
        "/api/models/no-such/",
        "/api/models/a.b/",
        "/api/models/caf%C3%A9/",
        "/api/models/digits/versions/0/",
        "/api/models/digits/versions/99999999999999999999999999/",
        "/api/models/digits/versions/-1/",
        "/api/models/digits/versions/1/nothing/",
        "/api/models/%0A/",
        "/api/models/%00/",
        "/api/models/%FF%FE/",
        "/api/jobs/999999999999999999999/",
        "/api/" + "x" * 4000 + "/",
    ],
)
def test_an_unknown_address_is_a_404_in_the_form_of_all_errors(api: Api, address: str) -> None:
    assert_error(api.get(address), 404, "not_found")


@pytest.mark.parametrize("page", ["99", "x", "0"])
def test_a_page_that_is_not_there_is_a_404_that_says_so(api: Api, page: str) -> None:
    answer = api.get("/api/models/", params={"page": page})

    assert_error(answer, 404, "not_found")
    assert "no such page" in answer.json()["detail"]


def test_a_missing_slash_is_redirected_for_reading_and_a_404_for_all_else(api: Api) -> None:
    reading = api.get("/api/models?search=digits", allow_redirects=False)
    followed = api.get("/api/models/digits")

    assert reading.status_code == 301
    assert reading.headers["Location"] == "/api/models/?search=digits"
    assert followed.json()["name"] == "digits"
    assert_error(api.post("/api/models", files={"file": b"x"}), 404, "not_found")
    assert_error(api.delete("/api/models/digits"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("PUT", "/api/models/"),
        ("DELETE", "/api/models/"),
        ("POST", "/api/models/digits/"),
        ("GET", "/api/models/digits/load/"),
        ("PUT", V1),
        ("DELETE", f"{V1}file/"),
        ("GET", f"{V1}trust/"),
        ("GET", "/api/token/"),
        ("GET", "/api/model/"),
        ("PATCH", "/api/status/"),
        ("POST", "/api/schema/"),
        ("POST", "/api/docs/"),
        ("OPTIONS", "/api/docs/"),
        ("BREW", "/api/models/"),
    ],
)
def test_a_method_that_an_address_has_not_is_a_405_that_names_the_others(api: Api, method: str, address: str) -> None:
    answer = api.request(method, address)

    assert_error(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"]


def test_head_and_options_answer_like_everywhere(api: Api) -> None:
    for address in ("/api/models/", "/api/models/digits/", V1, f"{V1}file/", "/api/status/"):
        head = api.head(address)
        assert (head.status_code, head.content) == (200, b"")
        options = api.options(address)
        assert options.status_code == 200
        assert "GET" in options.headers["Allow"]


@pytest.mark.parametrize("accept", ["text/html", "application/octet-stream", "image/png", "nonsense", ""])
def test_the_answer_is_json_whatever_accept_says(api: Api, accept: str) -> None:
    for address in ("/api/models/", "/api/models/?format=xml", "/api/nothing/"):
        answer = api.get(address, headers={"Accept": accept})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.status_code in {200, 404}


BAD_BODIES = [
    b"{",
    b"[]",
    b"null",
    b'""',
    b'"text"',
    b"1",
    b"\xff\xfe",
    b'{"wait": NaN}',
    b'{"wait": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"description": "\\ud800"}',
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("PATCH", "/api/models/digits/"),
        ("PATCH", V1),
        ("POST", "/api/models/digits/load/"),
        ("POST", f"{V1}trust/"),
        ("POST", "/api/token/"),
        ("PUT", "/api/model/"),
        ("DELETE", "/api/model/"),
        ("POST", "/api/image/"),
    ],
)
def test_a_damaged_body_is_a_400(api: Api, method: str, address: str, body: bytes) -> None:
    assert_error(
        api.request(method, address, data=body, headers={"Content-Type": "application/json"}), 400, "validation_error"
    )


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data", "image/png", ";;;", "a" * 500]
)
def test_a_body_of_another_kind_is_a_415_or_a_400(api: Api, kind: str) -> None:
    for method, address in (
        ("PATCH", "/api/models/digits/"),
        ("POST", "/api/models/digits/load/"),
        ("POST", "/api/image/"),
        ("POST", "/api/models/"),
    ):
        answer = api.request(method, address, data=b"--x\r\n", headers={"Content-Type": kind})
        assert answer.status_code in {400, 415}, answer.text
        assert answer.json()["code"] in {"validation_error", "unsupported_media_type"}


@pytest.mark.parametrize(
    ("method", "address", "sentence"),
    [
        ("PATCH", "/api/models/digits/", "Send application/json."),
        ("POST", "/api/models/digits/load/", "Send application/json or multipart/form-data."),
        ("POST", "/api/image/", "Send application/json or multipart/form-data."),
    ],
)
def test_a_415_says_what_to_send(api: Api, method: str, address: str, sentence: str) -> None:
    for headers in ({}, {"Content-Type": "text/plain;charset=UTF-8"}):
        answer = api.request(method, address, data=b"{}", headers=headers)

        assert_error(answer, 415, "unsupported_media_type")
        assert answer.json()["detail"].endswith(f" {sentence}")


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP, identity"])
def test_a_coded_body_is_a_415_where_none_is_taken(portal: RunningPortal, api: Api, coding: str) -> None:
    body = gzip.compress(b"{}") if "gzip" in coding.lower() else b"{}"
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    form = {"Content-Encoding": coding, "Content-Type": "multipart/form-data; boundary=b"}
    browser = portal.browser()
    session = {"X-CSRFToken": browser.cookies["csrftoken"]}

    for answer in (
        api.patch("/api/models/digits/", data=body, headers=headers),
        api.post("/api/token/", data=body, headers=headers),
        api.post("/api/models/digits/load/", data=iter([body]), headers=headers),
        api.post("/api/models/", data=body, headers=form),
        browser.post("/api/models/digits/predict/", data=body, headers=headers | session),
    ):
        assert_error(answer, 415, "unsupported_media_type")
        assert answer.headers["Accept-Encoding"] == "identity"
    assert api.get("/api/models/digits/", headers=headers).status_code == 200


def test_a_body_in_no_coding_is_taken(api: Api) -> None:
    answer = api.patch("/api/models/digits/", json={}, headers={"Content-Encoding": "identity"})

    assert answer.status_code == 200, answer.text


def test_damaged_forms_are_a_400(api: Api) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    for body in (b"", b"--b", b"--b\r\n\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", b"\0" * 5000):
        for address in ("/api/models/", "/api/models/digits/versions/", "/api/image/", "/api/models/digits/load/"):
            answer = api.post(address, data=body, headers=kind)
            if address.endswith("load/"):
                assert answer.status_code in {200, 202, 400}
                api.unload("digits")
            else:
                assert_error(answer, 400, "validation_error")


def test_more_fields_than_a_form_may_have_are_refused(api: Api) -> None:
    many = {f"f{i}": "x" for i in range(1500)}

    for address in ("/api/image/", "/api/token/"):
        assert api.post(address, data=many).status_code in {400, 413}
    assert api.post("/api/models/", data=many, files={"file": b"x"}).status_code in {400, 413}


def test_an_unknown_host_is_refused_in_the_form_of_all_errors(api: Api) -> None:
    assert_error(api.get("/api/models/", headers={"Host": "elsewhere.example"}), 400, "validation_error")


def test_a_body_of_unknown_length_counts_like_any_other(api: Api) -> None:
    chunks = (part for part in (b'{"descrip', b'tion": "in pieces"}'))

    answer = api.patch("/api/models/digits/", data=chunks, headers={"Content-Type": "application/json"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["description"] == "in pieces"


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(portal: RunningPortal, api: Api) -> None:
    connection = http.client.HTTPConnection(urlsplit(portal.url).netloc, timeout=10)
    connection.putrequest("PATCH", "/api/models/digits/")
    connection.putheader("Authorization", str(api.headers["Authorization"]))
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b'{"description"')
    connection.close()

    assert api.get("/api/models/").status_code == 200


def test_too_long_a_search_is_a_400(api: Api) -> None:
    assert_error(api.get("/api/models/", params={"search": "x" * 6000}), 400, "validation_error")
    assert_error(api.get("/api/models/", params={"state": "asleep"}), 400, "validation_error")
    assert api.get("/api/models/", params={"search": "100%_[\x00'\"\\"}).json()["count"] == 0


def test_health_is_open_to_all(portal: RunningPortal) -> None:
    anonymous = portal.client(None)

    for address in ("/healthz", "/readyz"):
        wrong = anonymous.post(address)
        assert (wrong.status_code, wrong.headers.get("Allow")) == (405, "GET, HEAD")
    assert anonymous.get("/healthz").status_code == 200
    home = anonymous.get("/", allow_redirects=False)
    assert (home.status_code, home.headers["Location"]) == (302, "/try/")
    assert anonymous.get("/readyz").status_code == 200
    assert anonymous.get("/api/schema/").status_code == 200
    assert anonymous.get("/api/docs/").status_code == 200
    assert anonymous.get("/api/schema/", headers={"Accept": "application/json"}).json()["openapi"].startswith("3")


def test_the_document_is_the_same_whatever_is_asked_of_it(portal: RunningPortal) -> None:
    anonymous = portal.client(None)

    plain = anonymous.get("/api/schema/")
    answers = [anonymous.get(f"/api/schema/?{query}") for query in ("lang=de", "version=2", "version=a%0d%0ab: c")]

    for answer in answers:
        assert (answer.status_code, answer.content) == (200, plain.content)
        assert answer.headers["Content-Disposition"] == plain.headers["Content-Disposition"]
