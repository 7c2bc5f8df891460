"""What people may do: the names of Django's permissions, and a user's rights as pages and views ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

VIEW = "models_app.view_modelversion"
VIEW_MODEL = "models_app.view_registeredmodel"
ADD = "models_app.add_modelversion"
ADD_MODEL = "models_app.add_registeredmodel"
CHANGE = "models_app.change_modelversion"
CHANGE_MODEL = "models_app.change_registeredmodel"
DELETE = "models_app.delete_modelversion"
DELETE_MODEL = "models_app.delete_registeredmodel"
LOAD = "models_app.load_modelversion"
UNLOAD = "models_app.unload_modelversion"
PREDICT = "models_app.predict_modelversion"


@dataclass(frozen=True, slots=True)
class Rights:
    """Decides which buttons a page has. The views behind them check again."""

    can_view: bool = False
    can_add: bool = False
    can_change: bool = False
    can_delete: bool = False
    can_load: bool = False
    can_unload: bool = False
    can_predict: bool = False
    can_trust: bool = False
    can_change_model: bool = False
    can_delete_model: bool = False

    @classmethod
    def of(cls, user: Any) -> Rights:
        """Of a user; asks the permission backend once (Django keeps the answer on the user)."""
        may = user.has_perm
        return cls(
            can_view=may(VIEW) or may(CHANGE),
            can_add=may(ADD),
            can_change=may(CHANGE),
            can_delete=may(DELETE),
            can_load=may(LOAD),
            can_unload=may(UNLOAD),
            can_predict=may(PREDICT),
            can_trust=bool(user.is_active and user.is_superuser),
            can_change_model=may(CHANGE_MODEL),
            can_delete_model=may(DELETE_MODEL),
        )


def in_templates(request: HttpRequest) -> dict[str, Any]:
    """Context processor: every page knows the `rights` of its reader. Before anybody is known there are none."""
    return {"rights": SimpleLazyObject(lambda: Rights.of(request.user) if hasattr(request, "user") else Rights())}
