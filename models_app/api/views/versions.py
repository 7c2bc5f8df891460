from __future__ import annotations

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.errors import PermissionRefused
from inference.owner.output import read_lines
from models_app.api import schema
from models_app.api.attachment import attachment
from models_app.api.parsing import read_flag, read_object, received_upload, required_file
from models_app.api.shapes import version_json
from models_app.api.views.base import PortalView
from models_app.models import ModelVersion, Transition
from models_app.rights import ADD, CHANGE, DELETE, UNLOAD, VIEW
from models_app.services import change, delete, find, trust, upload
from models_app.services.places import queue_places
from models_app.services.supervise import log_path

HISTORY_LENGTH = 200


class VersionListView(PortalView):
    """All versions of a model, newest first; a new one by upload."""

    permissions: ClassVar = {"GET": VIEW, "POST": ADD}

    @extend_schema(operation_id="versions_list", responses={200: schema.Version(many=True), **schema.ERRORS})
    def get(self, request: Request, name: str) -> Response:
        model = find.find_model(name)
        places = queue_places()
        return Response([version_json(v, places) for v in find.versions().filter(model=model).order_by("-number")])

    @extend_schema(
        operation_id="versions_create",
        request={"multipart/form-data": schema.NewVersion},
        responses={201: schema.Version, **schema.ERRORS},
    )
    def post(self, request: Request, name: str) -> Response:
        fields, file = received_upload(request)
        find.find_model(name)
        settings = upload.VersionSettings.from_fields(fields)
        version = upload.create_version(name, required_file(file), settings, by=request.user)
        return Response(version_json(find.find_version(name, version.number)), status=201)


class VersionView(PortalView):
    """One version."""

    permissions: ClassVar = {"GET": VIEW, "PATCH": CHANGE, "DELETE": DELETE}

    @extend_schema(operation_id="versions_read", responses={200: schema.Version, **schema.ERRORS})
    def get(self, request: Request, name: str, number: int) -> Response:
        return Response(version_json(find.find_version(name, number)))

    @extend_schema(
        operation_id="versions_change", request=schema.VersionChange, responses={200: schema.Version, **schema.ERRORS}
    )
    def patch(self, request: Request, name: str, number: int) -> Response:
        change.change_version(find.find_version(name, number), read_object(request), by=request.user)
        return Response(version_json(find.find_version(name, number)))

    @extend_schema(
        operation_id="versions_delete",
        parameters=[OpenApiParameter("unload", bool, description="Unload it first")],
        responses={204: None, **schema.ERRORS},
    )
    def delete(self, request: Request, name: str, number: int) -> Response:
        unload_first = read_flag(request, "unload")
        if unload_first:
            self.require(UNLOAD)
        delete.delete_version(find.find_version(name, number), by=request.user, unload_first=unload_first)
        return Response(status=204)


class FileView(PortalView):
    """The uploaded file, as an attachment that no browser opens."""

    permissions: ClassVar = {"GET": VIEW}
    needs_manage = True

    @extend_schema(
        operation_id="versions_file",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, **schema.ERRORS},
    )
    def get(self, request: Request, name: str, number: int) -> HttpResponseBase:
        version = find.find_version(name, number)
        return attachment(version.path, version.file_name)


class HistoryView(PortalView):
    """What became of a version, newest first; also of one that was deleted."""

    permissions: ClassVar = {"GET": VIEW}
    needs_manage = True

    @extend_schema(operation_id="versions_history", responses={200: schema.History, **schema.ERRORS})
    def get(self, request: Request, name: str, number: int) -> Response:
        version = ModelVersion.objects.select_related("model").filter(model__name=name, number=number).first()
        if version is not None:
            rows = find.history(version)
        else:
            rows = Transition.objects.filter(model_name=name, version_number=number)
            if not rows.exists():
                find.find_version(name, number)
        return Response({"results": [_event(row) for row in rows[:HISTORY_LENGTH]]})


def _event(row: Transition) -> dict[str, Any]:
    return {"at": row.at.isoformat(), "before": row.before, "after": row.after, "reason": row.reason, "by": row.by}


class LogView(PortalView):
    """The last 200 lines that the version's process printed."""

    permissions: ClassVar = {"GET": VIEW}
    needs_manage = True

    @extend_schema(operation_id="versions_log", responses={200: schema.Log, **schema.ERRORS})
    def get(self, request: Request, name: str, number: int) -> Response:
        return Response({"lines": read_lines(log_path(find.find_version(name, number)))})


class TrustView(PortalView):
    """A superuser takes responsibility for one file: it is checked again without the allow-list."""

    permissions: ClassVar = {"POST": CHANGE}
    needs_manage = True

    @extend_schema(
        operation_id="versions_trust", request=schema.Trust, responses={200: schema.Version, **schema.ERRORS}
    )
    def post(self, request: Request, name: str, number: int) -> Response:
        if not request.user.is_superuser:
            raise PermissionRefused("Only a superuser can trust a file.")
        version = find.find_version(name, number)
        trust.trust(version, read_object(request).get("reason"), by=request.user)
        return Response(version_json(find.find_version(name, number)))
