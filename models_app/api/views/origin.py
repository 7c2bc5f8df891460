"""For simple clients: register and load in one call, unload and delete in one, predict with the model in a field."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.errors import ValidationFailed
from models_app.api import schema
from models_app.api.parsing import read_flag, read_object, received_upload, required_file
from models_app.api.picture_forms import sent_pictures
from models_app.api.shapes import version_json
from models_app.api.views.base import FormView, PicturesView
from models_app.api.views.verbs import read_top
from models_app.choices import VersionState
from models_app.rights import ADD, ADD_MODEL, DELETE_MODEL, LOAD, PREDICT, UNLOAD
from models_app.services import delete, files, find, upload
from models_app.services.predict import predict_pictures
from models_app.services.replace import await_replacement
from models_app.services.unload import unload_model

REGISTER_LIMIT_S = 120.0
_NO_SUCH_FILE = "There is no such file in the import folder."


class OriginModelView(FormView):
    """Register and load in one call; unload and delete in one call."""

    permissions: ClassVar = {"PUT": ADD, "DELETE": UNLOAD}

    @extend_schema(
        operation_id="origin_register",
        request={"multipart/form-data": schema.OriginModel, "application/json": schema.OriginModelBody},
        responses={200: schema.Version, 202: schema.Version, **schema.ERRORS},
    )
    def put(self, request: Request) -> Response:
        for permission in (ADD_MODEL, LOAD):
            self.require(permission)
        deadline = time.monotonic() + REGISTER_LIMIT_S
        fields: dict[str, Any]
        fields, file = received_upload(request)
        if not fields and file is None:  # no multipart form: Django has the body
            given = read_object(request)
            fields = {name: given[name] for name in given}
        name = upload.check_name(fields.get("model_id"), field="model_id")
        if find.exists(name):
            self.require(UNLOAD)  # it replaces what serves now
        path = fields.get("model_path")
        try:
            if path not in (None, ""):
                if file is not None:
                    raise ValidationFailed("Send one of file or model_path.")
                file = copied(importable(path))
            use = upload.VersionSettings.from_fields(fields)
            version = upload.register(name, required_file(file), use, by=request.user, replaces_older=True)
        finally:
            if file is not None:
                file.discard()
        version = await_replacement(version, by=request.user, deadline=deadline)
        return Response(version_json(version), status=200 if version.state is VersionState.LOADED else 202)

    @extend_schema(
        operation_id="origin_remove",
        parameters=[
            OpenApiParameter("model_id", str, description="Also taken as a field of a form"),
            OpenApiParameter("keep", bool, description="Only unload, keep the files"),
        ],
        responses={200: schema.Receipt, **schema.ERRORS},
    )
    def delete(self, request: Request) -> Response:
        keep = read_flag(request, "keep")
        if not keep:
            self.require(DELETE_MODEL)
        name = request.query_params.get("model_id") or _field(request, "model_id")
        model = find.find_model(upload.check_name(name, field="model_id"))
        receipt = unload_model(model, by=request.user)
        if not keep:
            delete.delete_model(model, by=request.user)
        return Response(receipt)


class OriginImageView(PicturesView):
    """Ask the newest loaded version of a model about pictures."""

    permissions: ClassVar = {"POST": PREDICT}

    @extend_schema(
        operation_id="origin_ask",
        request={"multipart/form-data": schema.OriginImages},
        responses={200: schema.Prediction, **schema.ERRORS},
    )
    def post(self, request: Request) -> Response:
        name = upload.check_name(_field(request, "model_id"), field="model_id")
        version, instances = find.loaded_version(name, None)
        return Response(predict_pictures(version, instances, sent_pictures(request), top=read_top(request)))


def _field(request: Request, name: str) -> object:
    return request.data.get(name) if hasattr(request.data, "get") else None


def copied(path: Path) -> files.ReceivedFile:
    """A copy of what `importable` returned. Raises ValidationFailed where something else lies there by now: a link put
    there in between must not have the portal read a file elsewhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        raise ValidationFailed.of("model_path", "The portal may not read this file. Change its permissions.") from None
    except OSError:
        raise ValidationFailed.of("model_path", _NO_SUCH_FILE) from None
    with os.fdopen(descriptor, "rb") as file:
        is_plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_plain or Path(f"/proc/self/fd/{descriptor}").readlink() != path:
            raise ValidationFailed.of("model_path", _NO_SUCH_FILE)
        return files.receive_opened(file, path.name)


def importable(text: object) -> Path:
    """A file inside PORTAL_IMPORT_DIR and outside the data directory, links resolved.

    Raises TooLarge, ValidationFailed for anything else.
    """
    if not isinstance(text, str):
        raise ValidationFailed.of("model_path", "model_path is a text: where the file lies in the import folder.")
    root: Path | None = settings.PORTAL_IMPORT_DIR
    if root is None:
        raise ValidationFailed.of("model_path", "Paths are not taken here. Send the file, or set PORTAL_IMPORT_DIR.")
    try:
        path = (root / text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise ValidationFailed.of("model_path", _NO_SUCH_FILE) from None
    is_inside = path.is_relative_to(root.resolve()) and not path.is_relative_to(settings.PORTAL_DATA_DIR.resolve())
    if is_inside and path.is_dir():
        raise ValidationFailed.of("model_path", files.how_to_pack(path))
    if not is_inside or not path.is_file():
        raise ValidationFailed.of("model_path", _NO_SUCH_FILE)
    files.check_size(path.stat().st_size)
    return path
