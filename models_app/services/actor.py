"""Who acts: a user, the name of one that a job kept, or nobody in particular (the command line, a recovery)."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

Actor = AbstractBaseUser | AnonymousUser | str | None


def actor_name(actor: Actor) -> str:
    """The name as history keeps it; empty where nobody asked."""
    if isinstance(actor, str):
        return actor
    return actor.get_username() if actor is not None and actor.is_authenticated else ""


def as_user(actor: Actor) -> User | None:
    """The user whose row can be referred to, None for nobody in particular."""
    return actor if isinstance(actor, User) else None
