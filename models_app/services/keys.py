"""API keys: made once, kept as a hash, checked at use."""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import Permission, User
from django.db.models import Q, QuerySet
from django.utils import timezone

from models_app.choices import KeyScope
from models_app.models import ApiKey
from models_app.rights import PREDICT, VIEW, VIEW_MODEL
from models_app.services.database_retry import without_waiting

_APP = "models_app"
_MARK = "mp_"
_PREFIX_LENGTH = 12
_LAST_USED_EVERY = timedelta(seconds=60)
HOW_TO_SEND = "Send a key: Authorization: Bearer KEY."
NOT_VALID = "The key is not known, has expired, or its user is not active."

PREDICT_SCOPE = frozenset({VIEW_MODEL, VIEW, PREDICT})
"""What a key of the scope `predict` can do at most."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A valid key as a web process keeps it in memory; `permissions` are its user's in this app."""

    pk: int
    user_pk: int
    scope: str
    expires_at: datetime | None
    permissions: frozenset[str]

    @property
    def is_alive(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()

    def may(self, permission: str) -> bool:
        return permission in self.permissions and scope_allows(self.scope, permission)


def scope_allows(scope: str, permission: str, *, needs_manage: bool = False) -> bool:
    """Whether a key of this scope may use the permission at all, if its user has it."""
    return scope != KeyScope.PREDICT or (permission in PREDICT_SCOPE and not needs_manage)


def create_key(
    user: User, *, name: str, scope: str = KeyScope.PREDICT, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """A new key and its secret, which cannot be shown again."""
    secret = _MARK + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        user=user,
        name=name,
        scope=scope,
        expires_at=expires_at,
        prefix=secret[:_PREFIX_LENGTH],
        secret_hash=_hash(secret),
    )
    return key, secret


def secret_in(authorization: str) -> str | None:
    """The secret in a header `Authorization: Bearer …` (or Token); None for other kinds and for none."""
    word, _, secret = authorization.partition(" ")
    return secret.strip() if word.lower() in {"bearer", "token"} else None


def find_key(secret: str) -> ApiKey | None:
    """The key with this secret, if it is known, not expired, and its user is active."""
    secret_hash = hash_of_secret(secret)
    key = _living().filter(secret_hash=secret_hash).first() if secret_hash is not None else None
    if key is not None:
        _note_use(key)
    return key


def _living() -> QuerySet[ApiKey]:
    return ApiKey.objects.select_related("user").filter(
        Q(expires_at=None) | Q(expires_at__gt=timezone.now()), user__is_active=True
    )


def read_known_keys(secret_hashes: Collection[str]) -> dict[str, KnownKey]:
    """The valid ones of these keys, by the hash of the secret, with what their users may do.

    At most four queries, however many keys and users: a web process reads its keys several times a second.
    """
    keys = list(_living().filter(secret_hash__in=list(secret_hashes)))
    rights = _rights({key.user.pk: key.user for key in keys}.values())
    return {
        key.secret_hash: KnownKey(key.pk, key.user.pk, key.scope, key.expires_at, rights[key.user.pk]) for key in keys
    }


def _rights(users: Collection[User]) -> dict[int, frozenset[str]]:
    """What these active users may do in this app: Django's get_all_permissions for all of them at once."""
    ours = Permission.objects.filter(content_type__app_label=_APP).order_by()
    own: defaultdict[int, set[str]] = defaultdict(set)
    if plain := [user.pk for user in users if not user.is_superuser]:
        for way in ("user", "group__user"):
            for pk, codename in ours.filter(**{f"{way}__in": plain}).values_list(way, "codename"):
                own[pk].add(f"{_APP}.{codename}")
    every: set[str] = set()
    if len(plain) < len(users):
        every = {f"{_APP}.{codename}" for codename in ours.values_list("codename", flat=True)}
    return {user.pk: frozenset(every if user.is_superuser else own[user.pk]) for user in users}


def hash_of_secret(secret: str) -> str | None:
    """The hash by which a key is looked up; None for what cannot be a key."""
    return _hash(secret) if secret.startswith(_MARK) and secret.isascii() and "\x00" not in secret else None


def note_uses(pks: Collection[int]) -> None:
    """Remember that these keys were used, each at most once a minute."""
    now = timezone.now()
    ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=now - _LAST_USED_EVERY), pk__in=list(pks)).update(
        last_used_at=now
    )


def _note_use(key: ApiKey) -> None:
    """Remember the use, at most once a minute: no write for each request."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _LAST_USED_EVERY:
        without_waiting(lambda: ApiKey.objects.filter(pk=key.pk).update(last_used_at=now))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
