from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.views import APIView

from models_app.api.parsing import JSONParser
from models_app.api.picture_forms import PictureParser
from models_app.api.rendering import OneRenderer
from models_app.models import ApiKey


class PortalView(APIView):
    """A view that names the permission of each method; see permissions.VerbPermission."""

    permissions: ClassVar[Mapping[str, str]] = {}
    needs_manage: ClassVar[bool] = False
    parser_classes = [JSONParser]
    content_negotiation_class = OneRenderer

    @property
    def key(self) -> ApiKey | None:
        return self.request.auth if isinstance(self.request.auth, ApiKey) else None


class FormView(PortalView):
    """Takes forms as well as JSON."""

    parser_classes = [MultiPartParser, FormParser, JSONParser]


class PicturesView(PortalView):
    """Takes pictures in forms, and JSON."""

    parser_classes = [PictureParser, FormParser, JSONParser]
