from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.errors import ValidationFailed
from models_app.api import schema
from models_app.api.parsing import parse_top, pictures_of, read_count, read_object, read_wait
from models_app.api.picture_forms import PictureForm, sent_pictures
from models_app.api.shapes import version_json
from models_app.api.views.base import FormView, PicturesView
from models_app.choices import VersionState
from models_app.rights import LOAD, PREDICT, UNLOAD
from models_app.services import find
from models_app.services.load import load
from models_app.services.predict import predict_pictures, predict_tensors
from models_app.services.unload import DEFAULT_WAIT_S, receipt_of, unload

_NOTHING_ASKED = "Send one or more pictures in the field image, or JSON with Content-Type: application/json."
WAIT = OpenApiParameter("wait", float, description="Seconds to wait for the outcome, 0 to 120")


class LoadView(FormView):
    """Load a version, by default the newest ready one. Never unloads another."""

    permissions: ClassVar = {"POST": LOAD}

    @extend_schema(
        parameters=[WAIT, OpenApiParameter("instances", int, description="How many copies")],
        request={"application/json": schema.LoadWish},
        responses={200: schema.Version, 202: schema.Version, **schema.ERRORS},
    )
    def post(self, request: Request, name: str, number: int | None = None) -> Response:
        read_object(request)
        wait_s = read_wait(request, 0.0)
        instances = read_count(request, "instances", least=1, most=64) or 1
        version = find.newest_ready(name) if number is None else find.find_version(name, number)
        version = load(version, by=request.user, instances=instances, wait_s=wait_s)
        return Response(version_json(version), status=200 if version.state is VersionState.LOADED else 202)


class UnloadView(FormView):
    """Unload a version, by default all that are loaded. Requests in progress are finished first."""

    permissions: ClassVar = {"POST": UNLOAD}

    @extend_schema(
        parameters=[WAIT],
        request={"application/json": schema.UnloadWish},
        responses={200: schema.Receipt, 202: schema.Version, **schema.ERRORS},
    )
    def post(self, request: Request, name: str, number: int | None = None) -> Response:
        read_object(request)
        wait_s = read_wait(request, DEFAULT_WAIT_S)
        if number is not None:
            versions = [find.find_version(name, number)]
        else:
            versions = find.what_to_unload(find.find_model(name))
        if not versions:
            return Response(receipt_of(name))
        receipt = unload(versions, by=request.user, wait_s=wait_s)
        if receipt is None:
            return Response(version_json(find.find_version(name, versions[0].number)), status=202)
        return Response(receipt)


class PredictView(PicturesView):
    """Ask a loaded version, by default the newest loaded, with pictures or tensors."""

    permissions: ClassVar = {"POST": PREDICT}

    @extend_schema(
        parameters=[OpenApiParameter("top", int, description="How many answers a picture gets")],
        request={"multipart/form-data": schema.PicturesForm, "application/json": schema.PredictBody},
        responses={200: schema.Prediction, **schema.ERRORS},
    )
    def post(self, request: Request, name: str, number: int | None = None) -> Response:
        top = read_top(request)
        version, instances = find.loaded_version(name, number)
        if not _is_json(request):
            if not isinstance(request.data, PictureForm):
                raise ValidationFailed.of("image", _NOTHING_ASKED)
            return Response(predict_pictures(version, instances, sent_pictures(request), top=top))
        body = read_object(request)
        if (pictures := pictures_of(body)) is not None:
            return Response(predict_pictures(version, instances, pictures, top=top))
        return Response(predict_tensors(version, instances, body, top=top))


def read_top(request: Request) -> int | None:
    """`?top=`; only in the query, because a body may hold an input of that name."""
    return parse_top(request.query_params.get("top"))


def _is_json(request: Request) -> bool:
    return str(request.content_type).partition(";")[0].strip().lower() == "application/json"
