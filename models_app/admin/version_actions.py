"""What can be done with several versions at once: one message that counts what went well and names what did not."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html_join

from inference.errors import PortalError
from models_app.admin.version_views import passing, tell_empty, tell_receipt, without_name
from models_app.api.picture_forms import uploaded_pictures
from models_app.choices import FileStatus, VersionState
from models_app.models import ModelVersion
from models_app.pages.version_row import version_row
from models_app.pages.words import plural, size_words
from models_app.rights import Rights
from models_app.services import delete, find
from models_app.services.load import load
from models_app.services.places import queue_places, waits_for_slot
from models_app.services.predict import Picture
from models_app.services.unload import DEFAULT_WAIT_S, unload
from models_app.tryit.answers import Answer, Answered, answer_pictures

MOST_RECEIPTS = 5
Versions = QuerySet[ModelVersion]
_LOADING, _WAITING, _ON_THE_WAY, _LOADED = "loading", "waiting for a slot", "on the way already", "loaded already"
_LOAD_WORDS = {
    VersionState.LOADED: _LOADED,
    VersionState.QUEUED: _ON_THE_WAY,
    VersionState.LOADING: _ON_THE_WAY,
    VersionState.RESTARTING: _ON_THE_WAY,
}
"""What is said of versions whose load begins nothing new."""


@admin.action(description="Load", permissions=["load"])
def load_selected(modeladmin: Any, request: HttpRequest, queryset: Versions) -> None:
    """Counts what begins, what waits, what is loaded and on its way already, and names what cannot be loaded."""
    found: dict[str, list[ModelVersion]] = {words: [] for words in (_LOADING, _WAITING, *_LOAD_WORDS.values())}
    begun: list[ModelVersion] = []
    failures: list[str] = []
    for version in queryset:
        words = _LOAD_WORDS.get(version.state)
        try:
            asked = load(version, by=request.user)
        except PortalError as error:
            failures.append(_not_loaded(version, error))
            continue
        (begun if words is None else found[words]).append(asked)
    places = queue_places()
    for version in begun:
        found[_WAITING if waits_for_slot(version, places) else _LOADING].append(version)
    _tell(request, [_load_sentence(words, versions) for words, versions in found.items() if versions], failures)


def _load_sentence(words: str, versions: list[ModelVersion]) -> str:
    text = f"{plural(len(versions), 'model is', 'models are')} {words}."
    return text if words == _LOADED else passing(text, *versions)


def _not_loaded(version: ModelVersion, error: PortalError) -> str:
    reason = "it was rejected." if version.status == FileStatus.REJECTED else without_name(version, error)
    return f"{version} cannot be loaded: {reason}"


@admin.action(description="Unload", permissions=["unload"])
def unload_selected(modeladmin: Any, request: HttpRequest, queryset: Versions) -> None:
    """Shows the receipts of the first few, then a sum. All together have the time limit of one unload.

    Queued versions are unloaded first, else they would take the slots that become free and be ended at once.
    """
    deadline = time.monotonic() + DEFAULT_WAIT_S
    receipts, ends = [], Counter[bool]()
    failures: list[str] = []
    for version in sorted(queryset, key=lambda version: version.state is not VersionState.QUEUED):
        receipt = unload([version], by=request.user, wait_s=max(0.0, deadline - time.monotonic()))
        if receipt is None:
            failures.append(passing(f"{version} has not ended yet.", version))
        elif receipt["pids"]:
            receipts.append((version, receipt))
        else:
            ends[version.state is VersionState.QUEUED] += 1  # as it was fetched, before the unload
    for version, receipt in receipts[:MOST_RECEIPTS]:
        tell_receipt(request, version, receipt)
    rest = receipts[MOST_RECEIPTS:]
    texts = []
    if rest:
        freed = size_words(sum(receipt["memory_freed_bytes"] for _, receipt in rest))
        texts.append(f"{plural(len(rest), 'more model', 'more models')} unloaded, {freed} back.")
    if ends[True]:
        texts.append(f"{plural(ends[True], 'model was', 'models were')} taken out of the queue.")
    if ends[False]:
        texts.append(f"{plural(ends[False], 'model')} had no process to end.")
    _tell(request, texts, failures)


@admin.action(description="Ask with pictures…", permissions=["predict"])
def ask_selected(modeladmin: Any, request: HttpRequest, queryset: Versions) -> HttpResponse:
    """A page of its own: pictures go to every selected version, the answers stand side by side."""
    rights = Rights.of(request.user)
    versions = list(queryset)
    rows = [version_row(version, rights) for version in versions]
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": "Ask with pictures",
        "opts": modeladmin.opts,
        "rows": rows,
        "silent": [row for row in rows if row.state != VersionState.LOADED],
        "checkbox": ACTION_CHECKBOX_NAME,
        "action": "ask_selected",
        "error": "",
        "answers": [],
    }
    status = 200
    if "ask" in request.POST:
        try:
            pictures = uploaded_pictures(request.FILES.getlist("image"))
            context["answers"] = [_ask(version, pictures) for version in versions]
        except PortalError as error:
            context["error"], status = error.message, error.status
    return TemplateResponse(request, "admin/models_app/modelversion/ask.html", context, status=status)


def _ask(version: ModelVersion, pictures: list[Picture]) -> Answered:
    try:
        asked, instances = find.loaded_version(version.model.name, version.number)
        return answer_pictures(asked, instances, pictures)
    except PortalError as error:
        return Answered(str(version), [Answer(str(version), error=error.message)])


@admin.action(description="Delete…", permissions=["delete"])
def delete_selected(modeladmin: Any, request: HttpRequest, queryset: Versions) -> HttpResponse | None:
    """Asks first; what is in use is named and stays, the others go with their files."""
    versions = list(queryset)
    if "post" not in request.POST:
        rows = [version_row(version, Rights.of(request.user)) for version in versions]
        context = {
            **modeladmin.admin_site.each_context(request),
            "title": "Delete",
            "opts": modeladmin.opts,
            "doomed": [row for row in rows if row.is_deletable],
            "kept": [row for row in rows if not row.is_deletable],
            "checkbox": ACTION_CHECKBOX_NAME,
            "action": "delete_selected",
        }
        return TemplateResponse(request, "admin/models_app/modelversion/delete_selected.html", context)
    done, failures = 0, []
    for version in versions:
        try:
            delete.delete_version(version, by=request.user)
            done += 1
        except PortalError as error:
            failures.append(f"{version} was not deleted: {error.message}")
    texts = [f"{plural(done, 'version was', 'versions were')} deleted, with the files."] if done else []
    _tell(request, texts, failures)
    tell_empty(request, dict.fromkeys(version.model for version in versions))
    return None


def _tell(request: HttpRequest, successes: list[str], failures: list[str]) -> None:
    """One message in all."""
    if text := format_html_join(" ", "{}", ((sentence,) for sentence in [*successes, *failures])):
        (messages.warning if failures else messages.success)(request, text)
