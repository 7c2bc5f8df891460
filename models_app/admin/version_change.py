"""`?edit=labels|preprocessing|postprocessing|options|engine|ends`: one form for each thing that may change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse

from inference.errors import PortalError, ValidationFailed
from inference.preprocessing import CHANNELS
from models_app.admin.version_form import preprocessing_fields, preprocessing_wish
from models_app.choices import FileStatus
from models_app.models import ModelVersion
from models_app.pages.engine_choices import (
    check_precision,
    engine_choices,
    graph_ends,
    precision_choices,
    precision_wish,
    typed_names,
)
from models_app.pages.presets import PRESET_CHOICES
from models_app.pages.version_row import version_row
from models_app.rights import Rights
from models_app.services import change, find

TITLES = {
    "labels": "Labels",
    "preprocessing": "Preprocessing",
    "postprocessing": "Scores",
    "options": "Options",
    "engine": "Engine",
    "ends": "Inputs and outputs",
}
_EXAMPLES = {"preprocessing": '{"background": "#000000"}', "postprocessing": '{"top": 3}', "options": '{"threads": 2}'}
_ENDS = ("graph_inputs", "graph_outputs")
_CHANGED_BY = {"engine": {"engine", "precision", "options"}, "options": {"options", "precision"}, "ends": {"options"}}
"""Form → the names in the history of what it changes, where those are others than its own."""


def edit_view(admin: Any, request: HttpRequest, version: ModelVersion) -> HttpResponse:
    if not admin.has_change_permission(request, version):
        raise PermissionDenied
    what = request.GET["edit"]
    if what not in TITLES:
        raise Http404("There is nothing of this name to change.")
    errors: list[str] = []
    status, seen, now = 200, fingerprint(version, what), None
    typed: Mapping[str, Any] = _shown(version, what)
    ends = graph_ends(version)
    if request.method == "POST":
        typed, ends = request.POST.dict(), graph_ends(version, _typed_ends(request.POST))
        if request.POST.get("seen", seen) != seen:
            status, errors, now = 409, [_overtaken(version, what)], _stored(version, what)
        else:
            status, errors = _save(request, version, what)
        if not errors:
            messages.success(request, f"{TITLES[what]} of {version} saved. {_from_when(version, what)}")
            return HttpResponseRedirect(reverse("admin:models_app_modelversion_change", args=[version.pk]))
    row = version_row(version, Rights.of(request.user))
    context = {
        **admin.admin_site.each_context(request),
        "title": f"{TITLES[what]} of {row}",
        "opts": admin.opts,
        "v": row,
        "what": what,
        "heading": TITLES[what],
        "typed": typed,
        "seen": seen,
        "now": now,
        "errors": errors,
        "presets": PRESET_CHOICES,
        "preset_chosen": typed.get("preset"),
        "engines": engine_choices(version.format),
        "colors": list(CHANNELS),
        "precisions": precision_choices(),
        "ends": ends,
    }
    return TemplateResponse(request, "admin/models_app/modelversion/edit.html", context, status=status)


def _save(request: HttpRequest, version: ModelVersion, what: str) -> tuple[int, list[str]]:
    """Save; returns the HTTP status and the errors."""
    try:
        change.change_version(version, _given(version, what, request.POST), by=request.user)
    except PortalError as error:
        return error.status, [text for texts in error.fields.values() for text in texts] or [error.message]
    return 200, []


def _stored(version: ModelVersion, what: str) -> str:
    if what == "labels":
        return "\n".join(version.labels)
    if what == "engine":
        return f"{version.engine} {version.precision}"
    if what == "ends":
        return _json({name: version.options_json[name] for name in _ENDS if name in version.options_json})
    return _json(getattr(version, f"{what}_json"))


def fingerprint(version: ModelVersion, what: str) -> str:
    """A hash that the form sends back, so that what somebody else saved meanwhile is not overwritten unseen."""
    return hashlib.sha256(_stored(version, what).encode()).hexdigest()[:16]


def _overtaken(version: ModelVersion, what: str) -> str:
    names = _CHANGED_BY.get(what, {what})
    changes = find.history(version).filter(facts__has_key="changed")
    last = next((row for row in changes if names & set(row.facts["changed"])), None)
    said = f"{last.by} changed this meanwhile" if last is not None and last.by else "This was changed meanwhile"
    return f"{said}. What stands there now is shown first; Save puts yours in its place."


def _from_when(version: ModelVersion, what: str) -> str:
    if what == "ends" or version.status == FileStatus.REJECTED:
        return "The file is checked again."
    return "The change counts from the next load."


def _given(version: ModelVersion, what: str, typed: QueryDict) -> dict[str, Any]:
    """What the service is to change. Raises ValidationFailed."""
    if what == "ends":
        ends = _typed_ends(typed)
        kept = {name: value for name, value in version.options_json.items() if name not in ends}
        return {"options": {**kept, **{name: names for name, names in ends.items() if names}}}
    given = {what: _read(what, typed.dict())}
    precision = typed.get("precision", version.precision)
    if what == "engine":
        check_precision(str(given["engine"]), precision)
        if precision != version.precision:
            kept = {name: value for name, value in version.options_json.items() if name != "precision"}
            given["options"] = {**kept, **precision_wish(precision)}
    return given


def _typed_ends(typed: QueryDict) -> dict[str, list[str]]:
    """The inputs and outputs that were ticked or typed."""
    return {
        name: list(dict.fromkeys([*typed.getlist(name.replace("graph", "pick")), *typed_names(typed.get(name, ""))]))
        for name in _ENDS
    }


def _shown(version: ModelVersion, what: str) -> dict[str, Any]:
    """What the form shows first."""
    if what == "labels":
        return {"labels": "\n".join(version.labels)}
    if what == "engine":
        return {"engine": version.engine, "precision": version.precision}
    if what == "ends":
        return {}
    if what == "preprocessing":
        fields, rest = preprocessing_fields(version.preprocessing_json)
        return {**fields, "rest": _json(rest)}
    return {"rest": _json(version.postprocessing_json if what == "postprocessing" else version.options_json)}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) if value else ""


def _read(what: str, typed: Mapping[str, Any]) -> Any:
    """The value that the service takes. Raises ValidationFailed."""
    if what in {"labels", "engine"}:
        return typed.get(what, "")
    rest = _parsed(what, str(typed.get("rest", "")))
    if what != "preprocessing":
        return rest
    wish = preprocessing_wish(typed)
    if not typed.get("preset"):
        del wish["preset"]
    return {**rest, **wish}


def _parsed(what: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text.strip() else {}
    except (json.JSONDecodeError, RecursionError):
        raise ValidationFailed.of(what, f"This is not JSON. Write it like {_EXAMPLES[what]}.") from None
    if not isinstance(value, dict):
        raise ValidationFailed.of(what, f"Write a JSON object, like {_EXAMPLES[what]}.")
    return value
