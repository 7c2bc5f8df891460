from __future__ import annotations

from typing import ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api import schema
from models_app.api.attachment import attachment
from models_app.api.shapes import comparison_json, job_json
from models_app.api.views.base import PortalView
from models_app.models import Job
from models_app.rights import CHANGE, VIEW
from models_app.services import export, find
from models_app.services.compare import last_comparison, request_comparison

FORMAT = OpenApiParameter("format", str, required=True, enum=list(export.TARGETS), description="The format wanted")


class CompareView(PortalView):
    """Measure every engine that can run the version. Disturbs what is loaded only by the processor time it takes."""

    permissions: ClassVar = {"POST": CHANGE}

    @extend_schema(operation_id="versions_compare", request=None, responses={202: schema.Job, **schema.ERRORS})
    def post(self, request: Request, name: str, number: int) -> Response:
        job = request_comparison(find.find_version(name, number), by=request.user)
        return Response(job_json(job), status=202)


class ComparisonView(PortalView):
    """The last measurement of the engines: differences from the reference, speed, memory, and a recommendation."""

    permissions: ClassVar = {"GET": VIEW}

    @extend_schema(operation_id="versions_comparison", responses={200: schema.Comparison, **schema.ERRORS})
    def get(self, request: Request, name: str, number: int) -> Response:
        return Response(comparison_json(last_comparison(find.find_version(name, number))))


class ExportView(PortalView):
    """The version in another format: the file, or the job that makes it, or 422 with what stands in the way. It takes
    the permission to see versions, like the download of the file itself."""

    permissions: ClassVar = {"GET": VIEW}
    needs_manage = True

    @extend_schema(
        operation_id="versions_export",
        parameters=[FORMAT],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            202: schema.Job,
            **schema.ERRORS,
        },
    )
    def get(self, request: Request, name: str, number: int) -> HttpResponseBase:
        wanted = request.query_params.get("format", "")
        found = export.export(find.find_version(name, number), wanted, by=request.user)
        if isinstance(found, Job):
            return Response(job_json(found), status=202)
        return attachment(found.path, found.file_name)
