from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inference.errors import NotFound


@extend_schema(exclude=True)
class MissingView(APIView):
    """An address under `/api/` that does not exist: 404 in the form of all errors."""

    permission_classes = [AllowAny]
    authentication_classes: list[Any] = []

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self.args, self.kwargs = args, kwargs
        request = self.request = self.initialize_request(request)
        self.headers = self.default_response_headers
        response = self.handle_exception(NotFound("There is nothing at this address. Addresses end with a slash."))
        self.response = self.finalize_response(request, response)
        return self.response

    def get(self, request: Request) -> Response:  # pragma: no cover - dispatch answers for every method
        raise NotImplementedError
