from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.views import APIView

from inference.errors import PermissionRefused
from models_app.api.parsing import JSONParser
from models_app.api.permissions import VerbPermission, may
from models_app.api.picture_forms import PictureParser
from models_app.api.rendering import OneRenderer


class PortalView(APIView):
    """A view that names the permission of each method; see permissions.VerbPermission."""

    permissions: ClassVar[Mapping[str, str]] = {}
    needs_manage: ClassVar[bool] = False
    parser_classes = [JSONParser]
    content_negotiation_class = OneRenderer

    def require(self, permission: str) -> None:
        """For what a method needs besides its own permission. Raises PermissionRefused."""
        if not may(self.request.user, self.request.auth, permission):
            raise PermissionRefused(VerbPermission.message)


class FormView(PortalView):
    """Takes forms as well as JSON.

    Where both say the same, the document names JSON alone: clients made from it fail where a body has several types.
    """

    parser_classes = [MultiPartParser, FormParser, JSONParser]


class PicturesView(PortalView):
    """Takes pictures in forms, and JSON."""

    parser_classes = [PictureParser, FormParser, JSONParser]
