from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import mark_safe

from models_app.choices import KeyScope
from models_app.models import ApiKey
from models_app.services.keys import create_key

_LIFETIMES = {"30": "30 days", "365": "a year", "": "until it is deleted"}


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    lifetime = forms.ChoiceField(choices=list(_LIFETIMES.items()), initial="365", required=False, label="Valid for")

    class Meta:
        model = ApiKey
        fields = ["name", "scope"]
        help_texts = {
            "name": "What it is for, so that you know later which one to delete.",
            "scope": "predict: ask models and see them. manage: all that you may do yourself.",
        }


class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A user's own keys: made here, shown once, revoked by deleting them. Superusers see everybody's."""

    list_display = ["name", "prefix", "scope", "user", "created_at", "last_used_at", "expires_at"]
    list_select_related = ["user"]
    search_fields = ["name", "prefix", "user__username"]
    form = KeyForm
    fields = ["name", "scope", "lifetime"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_view_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return _is_own(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False  # what a key may do is fixed when it is made

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return _is_own(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        keys = super().get_queryset(request)
        return keys if _is_superuser(request) else keys.filter(user=request.user.pk)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            return self.fields
        return ["name", "prefix", "scope", "user", "created_at", "last_used_at", "expires_at"]

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        days = form.cleaned_data.get("lifetime")
        expires_at = timezone.now() + timedelta(days=int(days)) if days else None
        assert request.user.is_authenticated
        key, secret = create_key(
            request.user, name=obj.name, scope=obj.scope or KeyScope.PREDICT, expires_at=expires_at
        )
        obj.pk, obj.prefix, obj.user = key.pk, key.prefix, key.user
        text = render_to_string("portal/_new_key.html", {"key": key, "secret": secret})
        messages.success(request, mark_safe(text.strip()))  # the template escapes what it prints

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """Drops Django's own message after adding: it would stand beside the secret and say less."""
        if not request.path.endswith("/add/"):
            super().message_user(request, message, *args, **kwargs)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _is_own(request: HttpRequest, key: ApiKey | None) -> bool:
    return key is None or _is_superuser(request) or key.user_id == request.user.pk
