from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.db.models.base import ModelBase
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from inference.errors import PermissionRefused
from models_app.login import PortalLogin, PortalPassword
from models_app.pages.failure import failure_page
from models_app.pages.fragments import asked_fragments, fragment_response
from models_app.pages.wall import build_wall
from models_app.rights import Rights

HIDDEN_APPS = frozenset({"django_q"})
"""Not shown and not editable: a row of django-q's schedule runs any function that it names."""
NO_STAFF = (
    "The wall and the models are for people with staff rights, which your account does not have. Ask an administrator "
    "for them, or log out and log in as somebody else."
)

_FIRST_RUN = "portal/_first_run.html"
WALL_FRAGMENTS = {"wall": "portal/_wall.html", "events": "portal/_wall_events.html", "first-run": _FIRST_RUN}


class PortalAdminSite(AdminSite):
    """Django's admin with the wall as its front page."""

    site_header = "Model portal"
    site_title = "Model portal"
    index_title = "Wall"
    enable_nav_sidebar = False  # the tables need the width

    def register(
        self,
        model_or_iterable: type[Model] | Iterable[type[Model]],
        admin_class: type[ModelAdmin[Any]] | None = None,
        **options: Any,
    ) -> None:
        given = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else list(model_or_iterable)
        shown = [model for model in given if model._meta.app_label not in HIDDEN_APPS]
        admin_class = admin_class or ModelAdmin
        super().register(shown, type(admin_class.__name__, (_WithoutPatterns, admin_class), {}), **options)

    def each_context(self, request: Any) -> dict[str, Any]:
        return super().each_context(request) | {"nav_here": _nav_here(request.path)}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        rights = Rights.of(request.user)
        fragments = asked_fragments(request, WALL_FRAGMENTS)
        if fragments and not rights.can_view:
            raise PermissionDenied
        wall = build_wall(rights)
        if _FIRST_RUN in fragments and not wall.is_first_run:
            raise Http404  # the page that polls then reloads itself, as the wall
        if fragments:
            response = fragment_response(request, fragments, {"wall": wall})
            response.headers["X-Updated"] = wall.updated
            return response  # type: ignore[return-value]
        context = {"wall": wall, "is_wall": True}
        return super().index(request, {**context, **(extra_context or {})})

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The portal's log-in. Who is logged in and comes here has no staff rights, and is told so."""
        if request.user.is_authenticated and not self.has_permission(request):
            return failure_page(request, PermissionRefused(NO_STAFF), "For staff only")
        return PortalLogin.as_view(next_page="admin:index")(request)  # type: ignore[return-value]

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The portal's page."""
        return PortalPassword.as_view()(request)  # type: ignore[return-value]

    def password_change_done(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # type: ignore[override]
        """Django's address for what the portal's page says itself."""
        return HttpResponseRedirect(reverse("password"))


class _WithoutPatterns(ModelAdmin):  # type: ignore[type-arg]
    """Takes no regular expression from an address (`?name__regex=`). In SQLite, Python matches it, and while it does no
    other thread runs: with the right one a single request stopped its web process for ever."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return not lookup.endswith("regex") and super().lookup_allowed(lookup, value, request)


def _nav_here(path: str) -> str:
    if path == reverse("admin:index"):
        return "wall"
    return "models" if path.startswith(reverse("admin:models_app_modelversion_changelist")) else ""
