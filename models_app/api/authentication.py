"""Who asks: a key in the Authorization header, or the browser's session with CSRF."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from models_app.models import ApiKey
from models_app.services.keys import NOT_VALID, find_key, secret_in


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`, also `Token <key>`. `request.auth` is the ApiKey."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        secret = secret_in(request.META.get("HTTP_AUTHORIZATION", ""))
        if secret is None:
            return None
        key = find_key(secret)
        if key is None:
            raise AuthenticationFailed(NOT_VALID)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class BrowserAuthentication(SessionAuthentication):
    """Django's session; anything that changes something needs the CSRF header."""


class BrowserScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "models_app.api.authentication.BrowserAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "models_app.api.authentication.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A key made with POST /api/token/."}
