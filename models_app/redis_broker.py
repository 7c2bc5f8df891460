"""django-q's queue in Redis, under a name of this portal's own: one server may have several portals."""

from __future__ import annotations

from django.conf import settings
from django.utils.crypto import salted_hmac
from django_q.brokers.redis_broker import Redis


class RedisBroker(Redis):  # type: ignore[misc]
    """With one name for all, portals took each other's tasks, and the start of one emptied the queue of another."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self.list_key: str = f"{self.list_key}:{_this_portal()}"


def _this_portal() -> str:
    """All processes of a portal have its key and its database in common. A copy has the same key, not the database; an
    address without a host means one of this node."""
    database = settings.DATABASES["default"]
    place = f"{database['HOST'] or settings.PORTAL_NODE}:{database['PORT']}/{database['NAME']}"
    return salted_hmac("models_app.redis_broker", place).hexdigest()[:12]
