"""API keys: made once, kept as a hash, checked at use."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from models_app.choices import KeyScope
from models_app.models import ApiKey
from models_app.services.patience import without_waiting

_MARK = "mp_"
_PREFIX_LENGTH = 12
_LAST_USED_EVERY = timedelta(seconds=60)


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


def find_key(secret: str) -> ApiKey | None:
    """The key with this secret, if it is known, not expired, and its user is active."""
    if not secret.startswith(_MARK) or not secret.isascii() or "\x00" in secret:
        return None
    key = (
        ApiKey.objects.select_related("user")
        .filter(
            Q(expires_at=None) | Q(expires_at__gt=timezone.now()), prefix=secret[:_PREFIX_LENGTH], user__is_active=True
        )
        .first()
    )
    if key is None or not hmac.compare_digest(key.secret_hash, _hash(secret)):
        return None
    _note_use(key)
    return key


def _note_use(key: ApiKey) -> None:
    """Remember the use, at most once a minute: no write for each request."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _LAST_USED_EVERY:
        with without_waiting():
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
