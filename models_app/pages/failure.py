"""The page that stands in the place of the one that was asked for: a title, a sentence, a way on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from inference.errors import PortalError
from models_app.rights import PREDICT

_TITLES = {403: "Not allowed", 404: "Not found", 413: "Too much at once", 500: "This went wrong"}


@dataclass(frozen=True, slots=True)
class WayOn:
    word: str
    href: str


def failure_page(request: HttpRequest, error: PortalError, title: str = "") -> HttpResponse:
    """The page for the reader who sent this request. Without a `title` it gets that of the error's status."""
    text = _text(request.path, error, title, getattr(request, "user", None), request)
    return HttpResponse(text, status=error.status, headers=error.headers)


def failure_text(path: str, error: PortalError, title: str = "") -> str:
    """The page where nobody is known: it asks no database, and its frame is that of a visitor."""
    return _text(path, error, title, None, None)


def _text(path: str, error: PortalError, title: str, user: Any, request: HttpRequest | None) -> str:
    context = {
        "title": title or _TITLES.get(error.status, "Not possible now"),
        "sentence": error.message,
        "way_on": _way_on(path, error.status, user),
        "has_permission": user is not None and user.is_authenticated,
        "is_nav_sidebar_enabled": False,
    }
    return render_to_string("failure.html", context, request)


def _way_on(path: str, status: int, user: Any) -> WayOn | None:
    """Where this reader may go; None where every page would refuse."""
    models, wall = reverse("admin:models_app_modelversion_changelist"), reverse("admin:index")
    if path.startswith(models) and (user is None or status in {400, 413}):  # a form that was not taken stood there
        return WayOn("Back to Models", models)
    if user is None or not user.is_authenticated:
        return WayOn("All models", reverse("try-list"))
    may_ask = user.has_perm(PREDICT)
    if user.is_staff and (path.startswith(wall) or not may_ask):
        return WayOn("To the wall", wall)
    return WayOn("All models", reverse("try-list")) if may_ask else None
