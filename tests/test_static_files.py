"""Static files come compressed to who takes it, and whole: nothing is streamed under ASGI."""

from __future__ import annotations

import gzip

import pytest
from django.test import Client

from tests.running_portal import ROOT

STYLE = "/static/portal/portal.css"
STYLE_BYTES = (ROOT / "static" / "portal" / "portal.css").read_bytes()


@pytest.mark.parametrize("address", [STYLE, "/static/portal/upload.js", "/static/admin/css/base.css"])
def test_texts_come_compressed(client: Client, address: str) -> None:
    plain = client.get(address)
    response = client.get(address, headers={"Accept-Encoding": "gzip, br"})

    assert response["Content-Encoding"] == "gzip"
    assert response["Vary"] == plain["Vary"] == "Accept-Encoding"
    assert int(response["Content-Length"]) == len(response.content) < len(plain.content) / 2
    assert gzip.decompress(response.content) == plain.content
    assert not response.streaming


def test_who_does_not_ask_for_it_gets_the_file_as_it_is(client: Client) -> None:
    response = client.get(STYLE)

    assert "Content-Encoding" not in response
    assert response.content == STYLE_BYTES


def test_a_part_and_the_head_are_answered_as_they_are(client: Client) -> None:
    part = client.get(STYLE, headers={"Range": "bytes=0-9", "Accept-Encoding": "gzip"})
    head = client.head(STYLE, headers={"Accept-Encoding": "gzip"})

    assert (part.status_code, part.content) == (206, STYLE_BYTES[:10])
    assert (head.status_code, head["Content-Length"]) == (200, str(len(STYLE_BYTES)))


def test_what_is_known_already_is_not_sent_again(client: Client) -> None:
    etag = client.get(STYLE)["ETag"]

    response = client.get(STYLE, headers={"If-None-Match": etag, "Accept-Encoding": "gzip"})

    assert (response.status_code, response.content) == (304, b"")
    assert "Content-Type" not in response


def test_pictures_are_not_compressed(client: Client) -> None:
    response = client.get(
        "/static/drf_spectacular_sidecar/swagger-ui-dist/favicon-32x32.png", HTTP_ACCEPT_ENCODING="gzip"
    )

    assert response.status_code == 200
    assert "Content-Encoding" not in response
