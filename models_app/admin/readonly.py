from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from models_app.models import Node
from models_app.pages.words import size_words
from models_app.rights import VIEW


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Tables that the portal itself writes: read-only, for users who may view versions."""

    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(VIEW)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NodeAdmin(ReadOnlyAdmin):
    list_display = ["name", "slots", "last_seen"]
    fields = ["name", "slots", "memory", "last_seen"]

    @admin.display(description="Memory")
    def memory(self, node: Node) -> str:
        return "; ".join(
            f"{device['id']}: {size_words(device['free_bytes'])} of {size_words(device['memory_bytes'])} free"
            for device in node.devices
        )


class JobAdmin(ReadOnlyAdmin):
    list_display = ["kind", "version", "state", "progress", "detail", "by", "created_at", "finished_at"]
    list_filter = ["state"]
    list_select_related = ["version__model"]
    ordering = ["-pk"]


class TransitionAdmin(ReadOnlyAdmin):
    """The history of everything: who changed what, when, why."""

    list_display = ["at", "model_name", "version_number", "before", "after", "reason", "by"]
    search_fields = ["model_name", "by"]
