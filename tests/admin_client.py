"""Django's client as somebody with rights, and what the pages say."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.messages import get_messages
from django.test import Client

from tests.admin_rows import make_staff


def client_with(*verbs: str, is_strict: bool = False) -> Client:
    """Logged in as staff who may view, and do these verbs; strict: CSRF is checked."""
    client = Client(enforce_csrf_checks=is_strict)
    client.force_login(make_staff("view", *verbs))
    return client


def words(response: Any) -> str:
    """The messages of the answer, in one line; their passing words like the others."""
    text = " ".join(str(message) for message in get_messages(response.wsgi_request))
    return re.sub(r'<span class="passing"[^>]*>|</span>', "", text)


def text_of(response: Any) -> str:
    """The page in one line."""
    return " ".join(response.content.decode().split())
