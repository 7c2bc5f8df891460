from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import authenticate
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from inference.errors import NotAuthenticated, PermissionRefused, ValidationFailed
from inference.json_object import is_text
from models_app.api import schema
from models_app.api.parsing import read_object
from models_app.api.views.base import FormView
from models_app.choices import KeyScope
from models_app.rights import ADD, ADD_MODEL, CHANGE, CHANGE_MODEL, DELETE, DELETE_MODEL, LOAD, PREDICT, UNLOAD, VIEW
from models_app.services.client_address import client_address
from models_app.services.keys import create_key
from models_app.services.throttle import guessing, note_failure

_MANAGE = (ADD, ADD_MODEL, CHANGE, CHANGE_MODEL, DELETE, DELETE_MODEL, LOAD, UNLOAD)
_WHAT_IT_NEEDS = {KeyScope.PREDICT: "see or ask", KeyScope.MANAGE: "add, change, delete, load or unload"}
LONGEST_NAME = 100
LIFETIME = timedelta(days=365)


class TokenView(FormView):
    """A key for a user name and a password. The secret is never shown again."""

    authentication_classes = []
    permission_classes = [AllowAny]

    @extend_schema(
        operation_id="token_create",
        auth=[],
        request={"application/json": schema.TokenWish},
        responses={201: schema.Token, **schema.ERRORS},
    )
    def post(self, request: Request) -> Response:
        given = read_object(request)
        user_name, password = _text(given, "username"), _text(given, "password")
        scope = given.get("scope") or KeyScope.PREDICT
        if scope not in KeyScope.values:
            raise ValidationFailed.of("scope", f"scope is one of {', '.join(KeyScope.values)}.")
        name = given.get("name") or "REST client"
        if not isinstance(name, str) or not is_text(name) or len(name) > LONGEST_NAME:
            raise ValidationFailed.of("name", f"The name of a key is a text of at most {LONGEST_NAME} characters.")
        address = client_address(request)
        with guessing(user_name, address):
            user = authenticate(request._request, username=user_name, password=password)
        if user is None:
            note_failure(user_name, address)
            raise NotAuthenticated("The user name or the password is wrong.")
        if not _may_have(user, scope):
            raise PermissionRefused(f"A key of the scope {scope} is for users who may {_WHAT_IT_NEEDS[scope]} models.")
        key, secret = create_key(user, name=name, scope=scope, expires_at=timezone.now() + LIFETIME)
        expires_at = key.expires_at.isoformat() if key.expires_at else None
        return Response({"token": secret, "name": key.name, "scope": key.scope, "expires_at": expires_at}, status=201)


def _text(given: Any, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value or not is_text(value):
        raise ValidationFailed.of(name, f"{name} is needed.")
    return value


def _may_have(user: Any, scope: str) -> bool:
    """Whether the user has a permission that a key of this scope is for."""
    if scope == KeyScope.PREDICT:
        return bool(user.has_perm(PREDICT) or user.has_perm(VIEW))
    return any(user.has_perm(permission) for permission in _MANAGE)
