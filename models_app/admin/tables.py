"""Which tables the admin shows, and how. django-q's are left out by the site itself."""

from __future__ import annotations

from django.contrib import admin

from models_app.admin.apikey import ApiKeyAdmin
from models_app.admin.readonly import JobAdmin, NodeAdmin, TransitionAdmin
from models_app.admin.registered_model import RegisteredModelAdmin
from models_app.admin.version import ModelVersionAdmin
from models_app.models import ApiKey, Job, ModelVersion, Node, RegisteredModel, Transition

admin.site.register(ModelVersion, ModelVersionAdmin)
admin.site.register(RegisteredModel, RegisteredModelAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)
admin.site.register(Node, NodeAdmin)
admin.site.register(Job, JobAdmin)
admin.site.register(Transition, TransitionAdmin)
