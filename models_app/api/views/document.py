"""The OpenAPI document and its page, open to all; their errors have the usual form."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api.authentication import BrowserAuthentication
from models_app.api.rendering import JSONRenderer


class _JsonErrors:
    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Any:
        if getattr(response, "exception", False):
            renderer = JSONRenderer()
            request.accepted_renderer = renderer
            request.accepted_media_type = renderer.media_type
        return super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]


class DocumentView(_JsonErrors, SpectacularAPIView):
    """OpenAPI 3, as YAML or JSON, the same for all.

    drf-spectacular also reads `?lang=` and `?version=`. Each language that anybody named stayed in Django's memory for
    ever, and the version went into a header, where a line end in it was an error of the portal's own.
    """

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._get_schema_response(request)  # type: ignore[no-any-return, no-untyped-call]

    def _get_version_parameter(self, request: Request) -> None:
        return None


class DocumentPageView(_JsonErrors, SpectacularSwaggerSplitView):
    """Swagger UI, in the frame of the portal's pages: it shows who is logged in."""

    authentication_classes = [BrowserAuthentication]
    http_method_names = ["get", "head"]
