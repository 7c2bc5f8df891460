"""All addresses of the portal."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path

from models_app.api.views.document import DocumentPageView, DocumentView
from models_app.api.views.missing import MissingView
from portal import health
from portal.metrics import MetricsView

urlpatterns = [
    path("", health.home, name="home"),
    path("", include("models_app.tryit.urls")),
    path("admin/", admin.site.urls),
    path("api/schema/", DocumentView.as_view(), name="schema"),
    path("api/docs/", DocumentPageView.as_view(url_name="schema"), name="api-docs"),
    path("api/", include("models_app.api.urls")),
    re_path(r"^api/", MissingView.as_view()),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", MetricsView.as_view(), name="metrics"),
]

handler400 = "portal.failures.bad_request"
handler403 = "portal.failures.forbidden"
handler404 = "portal.failures.not_found"
handler500 = "portal.failures.server_error"
