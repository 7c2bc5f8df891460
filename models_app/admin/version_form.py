"""The upload form, and how it is received without JavaScript. With JavaScript the file goes to the REST API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from inference.catalog import ENGINES
from inference.errors import PortalError, TooLarge, ValidationFailed
from inference.options import PRECISIONS
from inference.postprocessing import ACTIVATIONS
from inference.preprocessing import CHANNELS, PRESETS, RESIZES
from models_app.choices import FileStatus
from models_app.models import ModelVersion, RegisteredModel
from models_app.pages.engine_choices import (
    check_precision,
    engine_choices,
    precision_choices,
    precision_wish,
    typed_names,
)
from models_app.pages.presets import PRESET_CHOICES
from models_app.pages.steps import STEPS_AHEAD
from models_app.pages.words import size_words
from models_app.rights import ADD_MODEL
from models_app.services import files, upload
from models_app.services.choose import AUTO, DEFAULT_PRECISION

_FIELD_OF = {"preprocessing": "size", "postprocessing": "activation", "options": "graph_inputs"}
"""The field at which an error of a setting is shown."""
NAME_PATTERN = r"\s*[a-zA-Z0-9_\-]+\s*"
SIZE_PATTERN = r"\s*(\d{1,5})[\s,×xX]+(\d{1,5})\s*"
"""Patterns of typed text; the browser checks them too, before it sends a large file."""
SIZE_WANTED = "Write height and width as two numbers, like 224 × 224."


def _choices(names: Any) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


class UploadForm(forms.Form):
    file = forms.FileField(
        error_messages={"required": "Choose a file.", "missing": "Choose a file.", "empty": "The file is empty."}
    )
    name = forms.CharField(max_length=100, error_messages={"required": "A name is needed."})
    engine = forms.ChoiceField(choices=_choices([AUTO, *ENGINES]), initial=AUTO)
    precision = forms.ChoiceField(choices=_choices(PRECISIONS), required=False)
    graph_inputs = forms.CharField(required=False)
    graph_outputs = forms.CharField(required=False)
    labels = forms.CharField(required=False, strip=False)
    preset = forms.ChoiceField(choices=_choices(PRESETS), initial="none")
    size = forms.CharField(required=False)
    resize = forms.ChoiceField(choices=_choices(RESIZES), required=False)
    color = forms.ChoiceField(choices=[("", ""), *_choices(CHANNELS)], required=False)
    activation = forms.ChoiceField(choices=_choices(ACTIVATIONS), required=False)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        try:
            files.check_size(file.size)
        except TooLarge as error:
            raise forms.ValidationError(error.message) from None
        if file.size > settings.PORTAL_FORM_UPLOAD_BYTES:
            limit = size_words(settings.PORTAL_FORM_UPLOAD_BYTES)
            raise forms.ValidationError(f"Without JavaScript a file may have {limit}. Send a larger one over the API.")
        return file

    def clean_name(self) -> str:
        try:
            return upload.check_name(self.cleaned_data["name"])
        except ValidationFailed as error:
            raise forms.ValidationError(error.message) from None

    def settings(self) -> upload.VersionSettings | None:
        """The settings in the fields; None where they are invalid, with the error at its field."""
        given = self.cleaned_data
        try:
            return upload.VersionSettings.from_fields(
                {
                    "labels": given.get("labels", ""),
                    "preprocessing": preprocessing_wish(given),
                    "postprocessing": {"activation": given["activation"]} if given.get("activation") else {},
                    "engine": given.get("engine", AUTO),
                    "options": options_wish(given),
                }
            )
        except ValidationFailed as error:
            self.refuse(error)
            return None

    def refuse(self, error: PortalError) -> None:
        """Show an expected failure at the field that it names, else above all fields."""
        for name, sentences in (error.fields or {"": [error.message]}).items():
            field = _FIELD_OF.get(name, name)
            for sentence in sentences:
                self.add_error(field if field in self.fields else None, sentence)


def preprocessing_wish(given: Any) -> dict[str, Any]:
    """The REST API's `preprocessing` from the fields preset, size (two numbers in a text), resize and color."""
    wish: dict[str, Any] = {"preset": given.get("preset") or "none"}
    for name in ("resize", "color"):
        if given.get(name):
            wish[name] = given[name]
    if text := (given.get("size") or "").strip():
        numbers = re.fullmatch(SIZE_PATTERN, text)
        if numbers is None:
            raise ValidationFailed.of("size", SIZE_WANTED)
        wish["size"] = [int(numbers[1]), int(numbers[2])]
    return wish


def preprocessing_fields(wish: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The reverse of `preprocessing_wish`: the four fields, and what of the wish has no field."""
    rest = {key: value for key, value in wish.items() if key not in {"preset", "size", "resize", "color"}}
    size = wish.get("size")
    fields = {
        "preset": wish.get("preset", "" if rest else "none"),
        "size": f"{size[0]} × {size[1]}" if size else "",
        "resize": wish.get("resize", ""),
        "color": wish.get("color", ""),
    }
    return fields, rest


def _as_before(name: str) -> tuple[dict[str, Any], str]:
    """How the newest good version of a model is set up, as fields of the form, and a sentence that says so."""
    known = ModelVersion.objects.filter(model__name=name).order_by("-number")
    version = known.filter(status=FileStatus.READY).first() or known.first()
    if version is None:
        return {}, ""
    preprocessing, rest = preprocessing_fields(version.preprocessing_json)
    options, scores = version.options_json, version.postprocessing_json
    fields = {
        **preprocessing,
        "labels": "\n".join(version.labels),
        "activation": scores.get("activation", ""),
        "engine": version.engine,
        "precision": version.precision,
        **{end: ", ".join(options.get(end, [])) for end in ("graph_inputs", "graph_outputs")},
    }
    is_all = not rest and not scores.keys() - {"activation"} and not options.keys() - fields.keys()
    others = "" if is_all else " Its other settings are not taken over: set them on the new version's page."
    return fields, f"The form is filled in as version {version.number} is set up.{others}"


def options_wish(given: Any) -> dict[str, Any]:
    """The REST API's `options` from the fields precision, graph_inputs and graph_outputs."""
    precision = given.get("precision") or ""
    check_precision(given.get("engine") or AUTO, precision or DEFAULT_PRECISION)
    ends = {name: typed_names(given.get(name) or "") for name in ("graph_inputs", "graph_outputs")}
    return {**precision_wish(precision), **{name: names for name, names in ends.items() if names}}


def add_view(admin: Any, request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        name = request.GET.get("name", "")[:100]
        fields, sentence = _as_before(name)
        return _page(admin, request, UploadForm(initial={**fields, "name": name}), as_before=sentence)
    form = UploadForm(request.POST, request.FILES)
    wish = form.settings() if form.is_valid() else None
    if wish is None:
        return _page(admin, request, form, status=400)
    try:
        version = _receive(request, form, wish)
    except PortalError as error:
        form.refuse(error)
        return _page(admin, request, form, status=error.status)
    return HttpResponseRedirect(
        reverse("admin:models_app_modelversion_open", args=[version.model.name, version.number])
    )


def _receive(request: HttpRequest, form: UploadForm, wish: upload.VersionSettings) -> ModelVersion:
    name = form.cleaned_data["name"]
    is_known = RegisteredModel.objects.filter(name=name).exists()
    if not is_known and not request.user.has_perm(ADD_MODEL):
        raise PermissionDenied
    received = files.receive_upload(form.cleaned_data["file"])
    try:
        if is_known:
            return upload.create_version(name, received, wish, by=request.user)
        return upload.create_model(name, received, wish, by=request.user)
    finally:
        received.discard()


def _page(
    admin: Any, request: HttpRequest, form: UploadForm, *, status: int = 200, as_before: str = ""
) -> HttpResponse:
    known = dict(RegisteredModel.objects.order_by("name").values_list("name", "last_number"))
    name = str(form["name"].value() or "")
    context = {
        **admin.admin_site.each_context(request),
        "title": "Upload a model",
        "opts": admin.opts,
        "form": form,
        "known": known,
        "name_hint": name_hint(name, known),
        "as_before": as_before,
        "plain_hint": name_hint("", known),
        "limit_bytes": settings.PORTAL_MAX_UPLOAD_BYTES,
        "limit": size_words(settings.PORTAL_MAX_UPLOAD_BYTES),
        "form_limit": _form_limit(),
        "name_pattern": NAME_PATTERN,
        "name_wanted": upload.NAME_WANTED,
        "size_pattern": SIZE_PATTERN,
        "size_wanted": SIZE_WANTED,
        "steps": STEPS_AHEAD,
        "presets": PRESET_CHOICES,
        "preset_chosen": form["preset"].value(),
        "engines": engine_choices(),
        "precisions": precision_choices(),
        "open_url": f"{reverse('admin:models_app_modelversion_changelist')}open/",
    }
    return TemplateResponse(request, "admin/models_app/modelversion/add_form.html", context, status=status)


def _form_limit() -> str:
    """The size limit of the form without JavaScript; empty where it is that of every upload."""
    limit = files.form_limit_bytes()
    return size_words(limit) if limit < settings.PORTAL_MAX_UPLOAD_BYTES else ""


def name_hint(name: str, known: dict[str, int]) -> str:
    if name not in known:
        return "Letters, digits, hyphens and underscores: it stands in addresses."
    return f"{name} exists; this becomes version {known[name] + 1}."
