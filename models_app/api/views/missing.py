"""Unknown addresses of the REST API."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponsePermanentRedirect
from django.urls import Resolver404, resolve
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inference.errors import NotFound
from models_app.api.rendering import OneRenderer

NOTHING_HERE = "There is nothing at this address. Addresses end with a slash."


@extend_schema(exclude=True)
class MissingView(APIView):
    """An address under `/api/` that does not exist: 404 in the form of all errors.

    Reading an address that lacks only its slash is answered with a redirect, as everywhere in Django.
    """

    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []
    content_negotiation_class = OneRenderer

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.method in {"GET", "HEAD"} and exists(f"{request.path_info}/"):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        self.args, self.kwargs = args, kwargs
        request = self.request = self.initialize_request(request)
        self.headers = self.default_response_headers
        response = self.handle_exception(NotFound(NOTHING_HERE))
        self.response = self.finalize_response(request, response)
        return self.response

    def get(self, request: Request) -> Response:  # pragma: no cover - dispatch answers for every method
        raise NotImplementedError


def exists(path: str) -> bool:
    try:
        return getattr(resolve(path).func, "view_class", None) is not MissingView
    except Resolver404:
        return False
