"""Permissions: of a key its scope ∩ its user's Django permissions, of a session its user's permissions."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from models_app.models import ApiKey
from models_app.rights import PREDICT
from models_app.services.keys import scope_allows


def may(user: Any, auth: object, permission: str, *, needs_manage: bool = False) -> bool:
    """Whether this user, with the key `auth` if it is one, has the permission (one of models_app/rights.py)."""
    if isinstance(auth, ApiKey) and not scope_allows(auth.scope, permission, needs_manage=needs_manage):
        return False
    return bool(user.has_perm(permission))


class VerbPermission(BasePermission):
    """Each view says what each of its methods needs: `permissions = {"GET": VIEW, …}`.

    `needs_manage = True`: a key of the scope `predict` is refused, whatever the permission. A method that is not named
    is refused, unless the view has no such method: then the view answers 405.
    """

    message = "The key's scope or the user's rights do not allow this."

    def has_permission(self, request: Request, view: Any) -> bool:
        method = "GET" if request.method == "HEAD" else str(request.method)
        permission = view.permissions.get(method)
        if not request.user or not request.user.is_authenticated:
            return bool(settings.PORTAL_ANONYMOUS_PREDICT and permission == PREDICT)
        if permission is None:
            return method == "OPTIONS" or not hasattr(view, method.lower())
        return may(request.user, request.auth, permission, needs_manage=view.needs_manage)
