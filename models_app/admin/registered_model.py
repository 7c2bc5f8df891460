from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from inference.errors import InUse
from models_app.models import RegisteredModel
from models_app.services import delete, find


class RegisteredModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Names with their descriptions. A model is made by an upload and deleted with all its versions."""

    list_display = ["name", "owner", "version_count", "created_at"]
    list_select_related = ["owner"]
    search_fields = ["name", "description"]
    actions = None
    fields = ["name", "description", "owner", "created_at"]
    readonly_fields = ["name", "created_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # an upload makes it

    def save_model(self, request: HttpRequest, obj: RegisteredModel, form: Any, change: bool) -> None:
        """Only what was changed in the form: an upload may count `last_number` up meanwhile."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        RegisteredModel.objects.filter(pk=obj.pk).update(**changed)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RegisteredModel]:
        models: QuerySet[RegisteredModel] = super().get_queryset(request)
        return models.annotate(versions_now=Count("versions"))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Names", **(extra_context or {})})

    @admin.display(description="Versions")
    def version_count(self, model: Any) -> int:
        return int(model.versions_now)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Deletes through the service: Django's own view would leave the files and delete loaded versions."""
        model = self.get_object(request, object_id)
        if model is None:
            raise Http404("There is no such model.")
        if not self.has_delete_permission(request, model):
            raise PermissionDenied
        there = reverse("admin:models_app_registeredmodel_changelist")
        if request.method == "POST":
            try:
                delete.delete_model(model, by=request.user)
            except InUse as error:
                messages.error(request, error.message)
            else:
                messages.success(request, f"{model.name} was deleted with all its versions and their files.")
            return HttpResponseRedirect(there)
        versions = find.versions().filter(model=model).order_by("-number")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {model.name}",
            "opts": self.opts,
            "model": model,
            "versions": [str(version) for version in versions],
            "in_use": [str(version) for version in versions if version.is_in_use],
        }
        return TemplateResponse(request, "admin/models_app/registeredmodel/delete_confirmation.html", context)
