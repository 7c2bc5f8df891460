from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound as NoSuchPage
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response

from inference.errors import NotFound, ValidationFailed
from models_app.api import schema
from models_app.api.parsing import read_flag, read_object, received_upload, required_file
from models_app.api.shapes import model_json
from models_app.api.views.base import PortalView
from models_app.choices import VersionState
from models_app.models import RegisteredModel
from models_app.rights import ADD_MODEL, CHANGE_MODEL, DELETE_MODEL, UNLOAD, VIEW_MODEL
from models_app.services import delete, find, upload
from models_app.services.places import queue_places

LONGEST_SEARCH = 1000


def _models() -> QuerySet[RegisteredModel]:
    newest_first = find.versions().order_by("-number")
    return RegisteredModel.objects.select_related("owner").prefetch_related(Prefetch("versions", queryset=newest_first))


class ModelListView(PortalView):
    """All models; a new one by upload."""

    permissions: ClassVar = {"GET": VIEW_MODEL, "POST": ADD_MODEL}

    @extend_schema(
        operation_id="models_list",
        parameters=[
            OpenApiParameter("search", str, description="Part of a name or description"),
            OpenApiParameter("state", str, enum=VersionState.values, description="The state of any version"),
            OpenApiParameter("page", int),
        ],
        responses={200: schema.ModelPage, **schema.ERRORS},
    )
    def get(self, request: Request) -> Response:
        rows = _models()
        search = request.query_params.get("search", "")
        if len(search) > LONGEST_SEARCH:
            raise ValidationFailed.of("search", f"Search for at most {LONGEST_SEARCH} characters.")
        if search:
            rows = rows.filter(Q(name__icontains=search) | Q(description__icontains=search))
        state = request.query_params.get("state", "")
        if state and state not in VersionState.values:
            raise ValidationFailed.of("state", f"state is one of {', '.join(VersionState.values)}.")
        found: Any = rows
        if state:
            found = [model for model in rows if any(version.state == state for version in model.versions.all())]
        pages = PageNumberPagination()
        try:
            page: list[RegisteredModel] | None = pages.paginate_queryset(found, request, view=self)
        except NoSuchPage:
            raise NotFound("There is no such page. The first one is ?page=1.") from None
        places = queue_places()
        return pages.get_paginated_response(
            [model_json(model, list(model.versions.all()), places) for model in page or []]
        )

    @extend_schema(
        operation_id="models_create",
        request={"multipart/form-data": schema.NewModel},
        responses={201: schema.Model, **schema.ERRORS},
    )
    def post(self, request: Request) -> Response:
        fields, file = received_upload(request)
        name = upload.check_name(fields.get("name"))
        if find.exists(name):
            raise upload.name_taken(name)
        settings = upload.VersionSettings.from_fields(fields)
        description = upload.check_description(fields.get("description", ""))
        upload.create_model(name, required_file(file), settings, by=request.user, description=description)
        return Response(_one(name), status=201)


class ModelView(PortalView):
    """One model."""

    permissions: ClassVar = {"GET": VIEW_MODEL, "PATCH": CHANGE_MODEL, "DELETE": DELETE_MODEL}

    @extend_schema(operation_id="models_read", responses={200: schema.Model, **schema.ERRORS})
    def get(self, request: Request, name: str) -> Response:
        return Response(_one(name))

    @extend_schema(
        operation_id="models_change", request=schema.ModelChange, responses={200: schema.Model, **schema.ERRORS}
    )
    def patch(self, request: Request, name: str) -> Response:
        model = find.find_model(name)
        given = read_object(request)
        if unknown := sorted(set(map(str, given)) - {"description"}):
            raise ValidationFailed.of(unknown[0], "Only the description can be changed.")
        if "description" in given:
            RegisteredModel.objects.filter(pk=model.pk).update(
                description=upload.check_description(given["description"])
            )
        return Response(_one(name))

    @extend_schema(
        operation_id="models_delete",
        parameters=[OpenApiParameter("unload", bool, description="Unload its versions first")],
        responses={204: None, **schema.ERRORS},
    )
    def delete(self, request: Request, name: str) -> Response:
        unload_first = read_flag(request, "unload")
        if unload_first:
            self.require(UNLOAD)
        delete.delete_model(find.find_model(name), by=request.user, unload_first=unload_first)
        return Response(status=204)


def _one(name: str) -> dict[str, Any]:
    model = _models().filter(name=name).first()
    if model is None:
        raise NotFound(f"There is no model called {name[:100]}.")
    return model_json(model, list(model.versions.all()))
