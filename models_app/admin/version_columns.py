"""The columns of the list. Functions, not methods: Django takes the field `engine` before a method of that name."""

from __future__ import annotations

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from models_app.models import ModelVersion


@admin.display(description="Model")
def model_name(version: ModelVersion) -> SafeString:
    return _cell("portal/_cell_model.html", version)


@admin.display(description="State")
def state(version: ModelVersion) -> SafeString:
    return _cell("portal/_badge.html", version)


@admin.display(description="Engine")
def engine(version: ModelVersion) -> SafeString:
    return _cell("portal/_cell_engine.html", version)


@admin.display(description="Memory")
def memory(version: ModelVersion) -> SafeString:
    return _cell("portal/_cell_memory.html", version)


@admin.display(description="Requests")
def requests(version: ModelVersion) -> SafeString:
    return _cell("portal/_cell_requests.html", version)


@admin.display(description=mark_safe('<span class="visually-hidden">Buttons</span>'))
def row_buttons(version: ModelVersion) -> SafeString:
    return _cell("portal/_row_buttons.html", version)


def _cell(template: str, version: ModelVersion) -> SafeString:
    """`row` was put there by the change list, once for all columns."""
    return render_to_string(template, {"v": version.row})  # type: ignore[attr-defined]
