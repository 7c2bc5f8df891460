"""The views behind the buttons of one version. Each checks the permission of its verb; changes are POST only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe

from inference.errors import InUse, NotFound, PortalError
from inference.owner.output import read_lines
from models_app.admin import version_change
from models_app.api.attachment import attachment
from models_app.choices import FileStatus, InstanceState, VersionState
from models_app.models import Instance, ModelVersion, RegisteredModel
from models_app.pages.fragments import asked_fragments, fragment_response
from models_app.pages.receipts import receipt_words
from models_app.pages.version_page import build_version_page, history, log_note
from models_app.pages.version_row import VersionRow, version_row
from models_app.pages.words import NOTHING_DONE, short_seconds, size_words
from models_app.rights import Rights
from models_app.services import delete, find, trust
from models_app.services.load import load
from models_app.services.places import queue_places, waits_for_slot
from models_app.services.supervise import log_path
from models_app.services.unload import DEFAULT_WAIT_S, unload
from models_app.tryit.snippets import snippets

FRAGMENTS = {
    "head": "portal/_version_head.html",
    "state": "portal/_version_state.html",
    "side": "portal/_version_side.html",
}
View = Callable[..., HttpResponseBase]
Button = Callable[..., HttpResponse]


def get_version(object_id: str) -> ModelVersion:
    """Raises Http404 where there is none."""
    pk = int(object_id) if object_id.isascii() and object_id.isdigit() and len(object_id) < 19 else 0
    version = find.versions().filter(pk=pk).first()
    if version is None:
        raise Http404("There is no such version.")
    return version


def need(request: HttpRequest, verb: str) -> None:
    """Raises PermissionDenied unless the user may `verb` versions: view, load, delete and so on."""
    if not getattr(Rights.of(request.user), f"can_{verb}"):
        raise PermissionDenied


def page_context(admin: Any, request: HttpRequest, version: ModelVersion, **more: Any) -> dict[str, Any]:
    row = version_row(version, Rights.of(request.user))
    return {**admin.admin_site.each_context(request), "title": str(row), "v": row, "opts": admin.opts, **more}


def back(request: HttpRequest, otherwise: str = "") -> HttpResponseRedirect:
    """Redirect to the page that the button stood on."""
    came_from = request.META.get("HTTP_REFERER", "")
    if url_has_allowed_host_and_scheme(came_from, {request.get_host()}, request.is_secure()):
        return HttpResponseRedirect(came_from)
    return HttpResponseRedirect(otherwise or reverse("admin:models_app_modelversion_changelist"))


# ---- the page


def change_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    version = get_version(object_id)
    if not admin.has_view_or_change_permission(request, version):
        raise PermissionDenied
    if "edit" in request.GET:
        return version_change.edit_view(admin, request, version)
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    now = timezone.now()
    row = version_row(version, Rights.of(request.user), now=now)
    context = {"v": row, "page": build_version_page(version, now), "title": str(row), "opts": admin.opts}
    context["seen"] = version_change.fingerprint(version, "ends")
    if fragments := asked_fragments(request, FRAGMENTS):
        return fragment_response(request, fragments, context)
    context |= admin.admin_site.each_context(request)
    if version.status == FileStatus.READY:
        host = f"{request.scheme}://{request.get_host()}"
        context["snippets"] = snippets(version, host, needs_number=True)
    return TemplateResponse(request, "admin/models_app/modelversion/change_form.html", context)


def open_view(admin: Any, request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Redirect to the version's page. An upload ends here, also for users who may upload but not view."""
    if not (rights := Rights.of(request.user)).can_view and not rights.can_add:
        raise PermissionDenied
    try:
        version = find.find_version(name, number)
    except NotFound as error:
        raise Http404(error.message) from None
    if not rights.can_view:
        messages.success(request, f"{version} was uploaded and is being checked. You may not see what becomes of it.")
        return HttpResponseRedirect(reverse("admin:models_app_modelversion_add"))
    return HttpResponseRedirect(reverse("admin:models_app_modelversion_change", args=[version.pk]))


# ---- verbs


def unless_gone(view: Button) -> Button:
    """If somebody has deleted the version since its page was made, a button leads to the list, which says so."""

    @wraps(view)
    def wrapped(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        try:
            return view(admin, request, object_id)
        except Http404:
            if request.method != "POST":
                raise
            messages.warning(request, "This version is gone: somebody deleted it meanwhile. Nothing was done.")
            return HttpResponseRedirect(reverse("admin:models_app_modelversion_changelist"))

    return wrapped


def by_post(view: Button) -> Button:
    """On a GET do nothing and say so: it comes from people who had to log in after they pressed the button."""

    @wraps(view)
    @unless_gone
    def wrapped(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        if request.method == "POST":
            return view(admin, request, object_id)
        if not messages.get_messages(request):  # else the log-in has said it: portal/lost_forms.py
            messages.warning(request, NOTHING_DONE)
        return HttpResponseRedirect(reverse("admin:models_app_modelversion_change", args=[object_id]))

    return wrapped


@by_post
def load_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    need(request, "load")
    version = get_version(object_id)
    try:
        version = load(version, by=request.user)
        tell_load(request, version)
    except PortalError as error:
        messages.error(request, f"{version} cannot be loaded: {without_name(version, error)}")
    if request.GET.get("next") == "try":
        return HttpResponseRedirect(f"{reverse('try', args=[version.model.name])}?version={version.number}")
    return back(request)


def without_name(version: ModelVersion, error: PortalError) -> str:
    """The error's sentence, to follow the version's name."""
    text = error.message.removeprefix(f"{version} ")
    return error.message if text == error.message else f"it {text}"


def passing(text: str, *versions: ModelVersion) -> SafeString:
    """Words of a message about what is under way, which live.js takes away once the state of one of them changes."""
    of = ", ".join(str(version) for version in versions)
    # Safe: the template escapes what it prints.
    return mark_safe(render_to_string("portal/_passing.html", {"text": text, "of": of}).strip())


def tell_load(request: HttpRequest, version: ModelVersion) -> None:
    places = queue_places()
    row: VersionRow = version_row(version, Rights.of(request.user), places=places)
    if row.state != "loaded":
        end = "was put into the queue" if waits_for_slot(version, places) else "is loading"
        messages.info(request, passing(f"{row} {end}.", version))
        return
    ready = next(i for i in version.shown_instances if i.state == InstanceState.READY)
    facts = f"process {ready.pid}, {short_seconds(ready.load_seconds or 0)}, {size_words(ready.memory_bytes)}"
    messages.success(request, f"{row} is loaded: {facts}.")


@by_post
def unload_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    need(request, "unload")
    version = get_version(object_id)
    if "only_waiting" in request.POST and version.state is VersionState.LOADED:
        messages.warning(request, f"{version} was loaded meanwhile and answers; nothing was unloaded.")
        return back(request)
    receipt = unload([version], by=request.user, wait_s=DEFAULT_WAIT_S)
    if receipt is None:
        text = f"{version} has not ended after {DEFAULT_WAIT_S:.0f} s. It is ended by force as soon as it may be."
        messages.warning(request, passing(text, version))
    else:
        tell_receipt(request, version, receipt)
    return back(request)


def tell_receipt(request: HttpRequest, version: ModelVersion, receipt: Mapping[str, Any]) -> None:
    if not receipt["pids"]:
        was_waiting = version.state is VersionState.QUEUED  # as it was fetched, before the unload
        end = "was taken out of the queue" if was_waiting else "is not loaded; no process had to end"
        messages.info(request, f"{version} {end}.")
        return
    others = Instance.objects.filter(state=InstanceState.READY).exclude(version=version)
    words = receipt_words(version, receipt, others.values("version").distinct().count())
    # Safe: the template escapes what it prints.
    messages.success(request, mark_safe(render_to_string("portal/_receipt.html", {"r": words}).strip()))


def tell_empty(request: HttpRequest, models: Iterable[RegisteredModel]) -> None:
    """Name the models that lost their last version, with the way to delete them too."""
    for model in models:
        if not model.versions.exists():
            text = render_to_string("portal/_empty_model.html", {"model": model}, request)
            messages.info(request, mark_safe(text.strip()))  # the template escapes what it prints


@unless_gone
def delete_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    need(request, "delete")
    version = get_version(object_id)
    if request.method == "POST":
        name = str(version)
        try:
            delete.delete_version(version, by=request.user)
        except InUse as error:
            messages.error(request, error.message)
            return HttpResponseRedirect(reverse("admin:models_app_modelversion_change", args=[version.pk]))
        messages.success(request, f"{name} was deleted, and its file with it.")
        tell_empty(request, [version.model])
        return HttpResponseRedirect(reverse("admin:models_app_modelversion_changelist"))
    context = page_context(admin, request, version)
    return TemplateResponse(request, "admin/models_app/modelversion/delete_confirmation.html", context)


@unless_gone
def trust_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    need(request, "trust")
    version = get_version(object_id)
    status, error = 200, ""
    if request.method == "POST":
        try:
            trust.trust(version, request.POST.get("reason"), by=request.user)
        except PortalError as refusal:
            status, error = refusal.status, refusal.message
        else:
            messages.success(request, f"{version} is trusted; its file is checked again.")
            return HttpResponseRedirect(reverse("admin:models_app_modelversion_change", args=[version.pk]))
    context = page_context(admin, request, version, error=error)
    return TemplateResponse(request, "admin/models_app/modelversion/trust.html", context, status=status)


def log_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    need(request, "view")
    version = get_version(object_id)
    lines = read_lines(log_path(version))
    note = log_note(version, history(version), bool(lines), timezone.now())
    context = page_context(admin, request, version, lines=lines, log_note=note)
    return TemplateResponse(request, "admin/models_app/modelversion/log.html", context)


def file_view(admin: Any, request: HttpRequest, object_id: str) -> HttpResponseBase:
    need(request, "view")
    version = get_version(object_id)
    try:
        return attachment(version.path, version.file_name)
    except NotFound as error:
        raise Http404(error.message) from None


VIEWS: dict[str, View] = {
    "load": load_view,
    "unload": unload_view,
    "trust": trust_view,
    "log": log_view,
    "file": file_view,
}
