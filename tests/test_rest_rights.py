"""Who may do what: every call refuses the anonymous, the wrong scope and the user without the right."""

from __future__ import annotations

import base64

import pytest

from tests.conftest import SAMPLE
from tests.people import People
from tests.running_portal import RunningPortal

pytestmark = pytest.mark.portal

ONE, V1 = "/api/models/digits/", "/api/models/digits/versions/1/"

CALLS: list[tuple[str, str, bool, str]] = [
    # method, address, whether a key of the scope `predict` may, who lacks the right
    ("GET", "/api/", True, "deleter"),
    ("GET", "/api/models/", True, "deleter"),
    ("POST", "/api/models/", False, "deleter"),
    ("GET", ONE, True, "deleter"),
    ("PATCH", ONE, False, "deleter"),
    ("DELETE", ONE, False, "loader"),
    ("GET", f"{ONE}versions/", True, "deleter"),
    ("POST", f"{ONE}versions/", False, "deleter"),
    ("GET", V1, True, "deleter"),
    ("PATCH", V1, False, "deleter"),
    ("DELETE", V1, False, "loader"),
    ("POST", f"{ONE}load/", False, "deleter"),
    ("POST", f"{V1}load/", False, "deleter"),
    ("POST", f"{ONE}unload/", False, "loader"),
    ("POST", f"{V1}unload/", False, "loader"),
    ("POST", f"{ONE}predict/", True, "loader"),
    ("POST", f"{V1}predict/", True, "loader"),
    ("GET", f"{V1}file/", False, "deleter"),
    ("GET", f"{V1}history/", False, "deleter"),
    ("GET", f"{V1}log/", False, "deleter"),
    ("POST", f"{V1}trust/", False, "loader"),
    ("GET", "/api/jobs/1/", False, "deleter"),
    ("PUT", "/api/model/", False, "loader"),
    ("DELETE", "/api/model/", False, "loader"),
    ("POST", "/api/image/", True, "loader"),
    ("GET", "/api/status/", True, "deleter"),
]
IDS = [f"{method} {address}" for method, address, *_ in CALLS]


@pytest.mark.parametrize(("method", "address", "may_predict", "outsider"), CALLS, ids=IDS)
def test_the_anonymous_the_wrong_scope_and_the_outsider_are_refused(
    portal: RunningPortal, people: People, method: str, address: str, may_predict: bool, outsider: str
) -> None:
    anonymous = portal.client(None).request(method, address)
    with_predict_key = people.client("manager", "predict").request(method, address)
    without_right = people.client(outsider, "manage").request(method, address)

    assert anonymous.status_code == 401
    assert anonymous.headers["WWW-Authenticate"] == "Bearer"
    assert anonymous.json()["code"] == "not_authenticated"
    assert set(anonymous.json()) == {"code", "detail"}
    if may_predict:
        assert with_predict_key.status_code not in {401, 403}
        assert with_predict_key.status_code < 500
    else:
        assert with_predict_key.status_code == 403
        assert with_predict_key.json()["code"] == "permission_denied"
    assert without_right.status_code == 403
    assert without_right.json()["code"] == "permission_denied"


def test_trust_takes_a_superuser(people: People) -> None:
    answer = people.client("manager", "manage").post(f"{V1}trust/", json={"reason": "I made it."})

    assert answer.status_code == 403
    assert "superuser" in answer.json()["detail"]


def test_unloading_on_the_way_to_a_deletion_takes_the_right_to_unload(people: People) -> None:
    deleter = people.client("deleter", "manage")

    for address in (ONE, V1):
        answer = deleter.delete(address, params={"unload": "true"})
        assert answer.status_code == 403
        assert answer.json()["detail"] == "The key's scope or the user's rights do not allow this."


def test_replacing_what_serves_takes_the_right_to_unload(people: People) -> None:
    bringer = people.client("bringer", "manage")
    content = base64.b64encode(SAMPLE.read_bytes()).decode()
    load = {"parameters": {"config": "{}", "file:1/model.keras": content}}
    before = len(bringer.get("/api/models/digits/versions/").json())

    with SAMPLE.open("rb") as file:
        put = bringer.put("/api/model/", data={"model_id": "digits"}, files={"file": file})
    loaded = bringer.post("/v2/repository/models/digits/load", json=load)

    assert (put.status_code, loaded.status_code) == (403, 403)
    assert "unload" in loaded.json()["error"]
    assert len(bringer.get("/api/models/digits/versions/").json()) == before


def test_a_session_needs_the_rights_of_its_user(people: People) -> None:
    browser = people.browser("loader")
    browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]

    assert browser.get("/api/models/").status_code == 200
    assert browser.patch(ONE, json={"description": "mine now"}).status_code == 403
    assert browser.delete(ONE).status_code == 403


def test_a_change_in_a_session_needs_the_csrf_header(people: People) -> None:
    browser = people.browser("manager")

    without = browser.patch(ONE, json={"description": "changed"})
    upload_without = browser.post("/api/models/", files={"file": b"x"}, data={"name": "no-csrf"})
    browser.headers["X-CSRFToken"] = browser.cookies["csrftoken"]
    with_header = browser.patch(ONE, json={"description": "changed in a browser"})
    upload_with = browser.post("/api/models/", files={"file": b"not a model"}, data={"name": "with-csrf"})

    assert [without.status_code, upload_without.status_code] == [403, 403]
    assert without.json()["code"] == "permission_denied"
    assert with_header.status_code == 200
    assert with_header.json()["description"] == "changed in a browser"
    assert upload_with.status_code == 201
    assert upload_with.json()["owner"] == "manager"
