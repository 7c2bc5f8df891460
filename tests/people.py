"""Users of a portal with few rights, their keys, and browsers in which they are logged in."""

from __future__ import annotations

import requests

from tests.running_portal import PASSWORD, Api, RunningPortal

RIGHTS: dict[str, tuple[str, ...]] = {
    "nobody": (),
    "asker": ("predict_modelversion",),
    "loader": ("view_registeredmodel", "view_modelversion", "load_modelversion"),
    "bringer": ("add_registeredmodel", "add_modelversion", "load_modelversion", "view_modelversion"),
    "deleter": ("delete_registeredmodel", "delete_modelversion"),
    "leaver": ("view_registeredmodel", "view_modelversion"),
    "manager": ("*",),
}
"""User name → permissions."""

CSRF = "c" * 32

_MAKE = f"""
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
for name, rights in {RIGHTS!r}.items():
    user = User.objects.create_user(name, password={PASSWORD!r})
    found = Permission.objects.filter(content_type__app_label="models_app")
    user.user_permissions.set(found if rights == ("*",) else found.filter(codename__in=rights))
    session = SessionStore()
    session.update({{SESSION_KEY: user.pk, BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend"}})
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    print("session", name, session.session_key)
"""


class People:
    """Makes the users at once, their keys when they are asked for."""

    def __init__(self, portal: RunningPortal) -> None:
        self._portal = portal
        self._tokens: dict[tuple[str, str], str] = {}
        made = portal.manage("shell", "-c", _MAKE)
        assert made.returncode == 0, made.stderr
        lines = [line.split() for line in made.stdout.splitlines() if line.startswith("session ")]
        self._sessions = {name: key for _, name, key in lines}

    def ask_for_key(self, name: str, scope: str = "predict") -> requests.Response:
        wish = {"username": name, "password": PASSWORD, "scope": scope}
        return requests.post(f"{self._portal.url}/api/token/", json=wish, timeout=30)

    def client(self, name: str, scope: str = "predict") -> Api:
        """A client with a key of this user's."""
        if (name, scope) not in self._tokens:
            answer = self.ask_for_key(name, scope)
            assert answer.status_code == 201, answer.text
            self._tokens[name, scope] = answer.json()["token"]
        return Api(self._portal.url, self._tokens[name, scope])

    def browser(self, name: str) -> Api:
        """A client with the cookies of a login, and no CSRF header."""
        browser = Api(self._portal.url, None)
        browser.cookies.set("sessionid", self._sessions[name])
        browser.cookies.set("csrftoken", CSRF)
        return browser
