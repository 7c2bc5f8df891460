"""What the reader of a page may do: decides which buttons are there. The views check again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rights:
    can_view: bool = False
    can_add: bool = False
    can_change: bool = False
    can_delete: bool = False
    can_load: bool = False
    can_unload: bool = False
    can_predict: bool = False
    can_trust: bool = False

    @classmethod
    def of(cls, user: Any) -> Rights:
        """Of a user; asks the permission backend once (Django keeps the answer on the user)."""

        def may(verb: str) -> bool:
            return bool(user.has_perm(f"models_app.{verb}_modelversion"))

        return cls(
            can_view=may("view") or may("change"),
            can_add=may("add"),
            can_change=may("change"),
            can_delete=may("delete"),
            can_load=may("load"),
            can_unload=may("unload"),
            can_predict=may("predict"),
            can_trust=bool(user.is_active and user.is_superuser),
        )
