"""The addresses of `/api/`."""

from __future__ import annotations

from django.urls import path

from models_app.api.views.engines import CompareView, ComparisonView, ExportView
from models_app.api.views.models import ModelListView, ModelView
from models_app.api.views.origin import OriginImageView, OriginModelView
from models_app.api.views.status import JobView, RootView, StatusView
from models_app.api.views.token import TokenView
from models_app.api.views.verbs import LoadView, PredictView, UnloadView
from models_app.api.views.versions import FileView, HistoryView, LogView, TrustView, VersionListView, VersionView

ONE = "models/<slug:name>/"
VERSION = "models/<slug:name>/versions/<int:number>/"

urlpatterns = [
    path("", RootView.as_view(), name="api-root"),
    path("models/", ModelListView.as_view(), name="api-models"),
    path(ONE, ModelView.as_view(), name="api-model"),
    path(f"{ONE}versions/", VersionListView.as_view(), name="api-versions"),
    path(VERSION, VersionView.as_view(), name="api-version"),
    path(f"{VERSION}file/", FileView.as_view(), name="api-file"),
    path(f"{VERSION}history/", HistoryView.as_view(), name="api-history"),
    path(f"{VERSION}log/", LogView.as_view(), name="api-log"),
    path(f"{VERSION}compare/", CompareView.as_view(), name="api-compare"),
    path(f"{VERSION}comparison/", ComparisonView.as_view(), name="api-comparison"),
    path(f"{VERSION}export/", ExportView.as_view(), name="api-export"),
    path(f"{VERSION}trust/", TrustView.as_view(), name="api-trust"),
    *(
        path(f"{prefix}{verb}/", view.as_view(), name=f"api-{verb}{suffix}")
        for verb, view in (("load", LoadView), ("unload", UnloadView), ("predict", PredictView))
        for prefix, suffix in ((ONE, ""), (VERSION, "-version"))
    ),
    path("jobs/<int:pk>/", JobView.as_view(), name="api-job"),
    path("status/", StatusView.as_view(), name="api-status"),
    path("token/", TokenView.as_view(), name="api-token"),
    path("model/", OriginModelView.as_view(), name="api-origin-model"),
    path("image/", OriginImageView.as_view(), name="api-origin-image"),
]
