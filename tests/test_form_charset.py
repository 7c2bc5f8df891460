"""A form is read as UTF-8, whatever its Content-Type says; nothing that it says is an error of the portal's own."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db
FIELDS = {"username": "zoë", "password": "a=b c"}
IN_PARTS = "".join(
    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in FIELDS.items()
)
FORMS = {
    "multipart/form-data; boundary=b": f"{IN_PARTS}--b--\r\n".encode(),
    "application/x-www-form-urlencoded": b"username=zo%C3%AB&password=a%3Db+c",
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("charset", ["rot13", "idna", "punycode", "undefined", "utf-16", "no-such"])
@pytest.mark.parametrize(("address", "status"), [("/login/", 302), ("/api/token/", 201)])
def test_whatever_charset_a_form_names_it_is_read(
    client: Client, address: str, status: int, charset: str, kind: str
) -> None:
    User.objects.create_superuser(FIELDS["username"], "", FIELDS["password"])

    answer = client.generic("POST", address, FORMS[kind], content_type=f"{kind}; charset={charset}")

    assert answer.status_code == status
