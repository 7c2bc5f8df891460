"""What stands in the way of a page is said on a page with a frame and a way back. APIs keep their JSON."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client, RequestFactory

from portal.failures import bad_request, server_error
from tests.admin_client import client_with, text_of
from tests.registry import make_user

TO_MODELS = '<a class="btn" href="/try/">All models</a>'
LIST = "/admin/models_app/modelversion/"
TO_LIST = f'<a class="btn" href="{LIST}">Back to Models</a>'
TO_WALL = '<a class="btn" href="/admin/">To the wall</a>'


def assert_page(response: Any, status: int, *sentences: str, way_back: str = TO_WALL) -> None:
    assert response.status_code == status
    text = text_of(response)
    assert "portal/portal.css" in text
    assert way_back in text
    assert "<style" not in text
    assert all(sentence in text for sentence in sentences), text


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["change", "delete", "log"])
def test_a_version_that_is_gone_is_told_on_a_page(verb: str) -> None:
    response = client_with("delete").get(f"/admin/models_app/modelversion/99/{verb}/")

    assert_page(response, 404, "There is nothing at this address", "Log out", ">Wall</a>")


@pytest.mark.django_db
def test_an_unknown_address_is_told_to_a_visitor_too(client: Client) -> None:
    response = client.get("/nothing/")

    assert_page(response, 404, "There is nothing at this address", way_back=TO_MODELS)
    assert "Log out" not in text_of(response)


@pytest.mark.django_db
def test_who_lacks_a_right_is_told_so_on_a_page() -> None:
    response = client_with().get("/admin/models_app/modelversion/add/")

    assert_page(response, 403, "Your account may not do this", "Log out")


@pytest.mark.django_db
def test_a_form_from_before_the_last_log_in_is_told_to_be_loaded_again() -> None:
    response = client_with("load", is_strict=True).post("/admin/models_app/modelversion/1/load/")

    assert_page(response, 403, "You have logged in or out since this page was made", "Log out")


@pytest.mark.django_db
def test_too_many_pictures_for_a_bulk_question_lead_back_to_the_list_and_leave_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures = [SimpleUploadedFile(f"{n}.png", b"x") for n in range(66)]

    response = client_with("predict").post(LIST, {"action": "ask_selected", "ask": "1", "image": pictures})

    assert_page(response, 413, "Too much at once", "Send at most 64 pictures at once", way_back=TO_LIST)
    assert "Traceback" not in caplog.text


@pytest.mark.django_db
def test_people_without_staff_rights_are_not_led_to_the_wall(client: Client) -> None:
    client.force_login(make_user("ada", "predict"))

    assert ">Wall</a>" not in text_of(client.get("/nothing/"))


@pytest.mark.django_db
def test_below_api_the_answers_stay_json(client: Client) -> None:
    assert client.get("/api/nothing/").json()["code"] == "not_found"
    assert client.get("/api/models/").json()["code"] == "not_authenticated"


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/admin/", "/healthz"])
def test_a_name_that_the_portal_does_not_have_is_told_on_a_page(client: Client, address: str) -> None:
    response = client.get(address, headers={"host": "elsewhere.example"})

    assert_page(response, 400, "PORTAL_ALLOWED_HOSTS", way_back=TO_MODELS)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("/api/models/", "detail"),
        ("/v2", "error"),
        ("/v2/health/ready", "error"),
        ("/v1/models", "error"),
        ("/V1/models/a:predict", "error"),
    ],
)
def test_programs_are_told_of_such_a_name_in_the_form_of_their_errors(client: Client, address: str, key: str) -> None:
    response = client.get(address, headers={"host": "elsewhere.example"})

    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/json")
    assert "PORTAL_ALLOWED_HOSTS" in response.json()[key]


def test_a_bug_is_told_on_a_page_without_the_database(rf: RequestFactory) -> None:
    response = server_error(rf.get("/admin/"))

    assert_page(response, 500, "The portal met an error of its own", way_back=TO_MODELS)


@pytest.mark.parametrize(("address", "key"), [("/api/models/", "detail"), ("/v2/models/a", "error")])
def test_programs_are_told_of_a_bug_or_a_broken_request_in_the_form_of_their_errors(
    rf: RequestFactory, address: str, key: str
) -> None:
    bug, broken = server_error(rf.get(address)), bad_request(rf.get(address), SuspiciousOperation())

    assert (bug.status_code, broken.status_code) == (500, 400)
    assert "an error of its own" in json.loads(bug.content)[key]
    assert "does not take this request" in json.loads(broken.content)[key]


@pytest.mark.parametrize("address", ["/admin/", "/api/models/", "/v2/models/a"])
@pytest.mark.parametrize(
    ("raised", "status", "sentence"),
    [
        (OperationalError("database is locked"), 503, "The database is busy. Try again in some seconds."),
        (OperationalError("database or disk is full"), 507, "The disk is full."),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "The disk is full."),
    ],
)
def test_a_host_that_fails_is_no_bug_anywhere(
    rf: RequestFactory, address: str, raised: Exception, status: int, sentence: str
) -> None:
    try:
        raise raised
    except Exception:
        response = server_error(rf.get(address))

    assert response.status_code == status
    assert sentence in text_of(response)
    assert ("Retry-After" in response.headers) == (status == 503)
