"""The views behind the engine buttons of a version: compare, choose, use, make a format, download it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from inference.catalog import FORMATS
from inference.errors import PortalError
from models_app.admin.version_views import View, by_post, get_version, need
from models_app.api.attachment import attachment
from models_app.models import Job, ModelVersion
from models_app.services import choose
from models_app.services.compare import request_comparison
from models_app.services.export import export


@by_post
def compare_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    return _queue(request, object_id, lambda version: request_comparison(version, by=request.user))


@by_post
def choose_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    return _queue(request, object_id, lambda version: choose.request_choice(version, by=request.user))


def _queue(request: HttpRequest, object_id: str, ask: Callable[[ModelVersion], Job]) -> HttpResponse:
    """Ask for a job that measures; the page shows it from then on."""
    need(request, "change")
    version = get_version(object_id)
    try:
        ask(version)
    except PortalError as error:
        messages.error(request, error.message)
    return _page_of(version)


@by_post
def use_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Use `?engine=&precision=` from the next load on; allowed while the version is loaded."""
    need(request, "change")
    version = get_version(object_id)
    engine = request.GET.get("engine", "")
    precision = request.GET.get("precision", choose.DEFAULT_PRECISION)
    try:
        choose.use_engine(version, engine, precision, by=request.user)
    except PortalError as error:
        messages.error(request, error.message)
        return _page_of(version)
    what = "The portal's own choice" if engine == choose.AUTO else f"{engine} {precision}"
    if version.is_in_use:
        text = f"{what} is used from the next load. {version} runs on undisturbed."
    else:
        text = f"{what} is used from the next load of {version}."
    messages.success(request, text)
    return _page_of(version)


@by_post
def make_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """`?format=`: makes the file in this format, which the page then offers. Who may see a version may download it in
    every format, as over REST (`export/`); making one changes nothing that is served."""
    need(request, "view")
    version = get_version(object_id)
    try:
        export(version, request.GET.get("format", ""), by=request.user)
    except PortalError as error:
        messages.error(request, error.message)
    return _page_of(version)


def export_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponseBase:
    """`?format=`: the file in this format. If it was not made yet, leads back to the page with a message."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    need(request, "view")
    version = get_version(object_id)
    target = request.GET.get("format", "")
    if target not in FORMATS:
        raise Http404("There is no such format.")
    if not version.conversions.filter(format=target, sentence="").exists():
        messages.warning(request, f"{version} was not made as {FORMATS[target].word} yet.")
        return _page_of(version)
    try:
        found = export(version, target, by=request.user)
        if not isinstance(found, Job):
            return attachment(found.path, found.file_name)
        messages.warning(request, f"The {FORMATS[target].word} file was damaged on disk; it is made again.")
    except PortalError as error:
        messages.error(request, error.message)
    return _page_of(version)


def _page_of(version: ModelVersion) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:models_app_modelversion_change", args=[version.pk]))


VIEWS: dict[str, View] = {
    "compare": compare_view,
    "choose": choose_view,
    "use": use_view,
    "make": make_view,
    "export": export_view,
}
