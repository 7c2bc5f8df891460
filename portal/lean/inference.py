"""Inference in front of Django, in one story: where it goes, who asks, what is asked, what the runner answers.

Nothing on the way touches the database or changes threads: what is loaded and the keys are in memory (registry.py),
the runners are asked over one connection each (inference/client.py). Django gets what is not for here.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from inference.errors import NotAuthenticated, PermissionRefused, PortalError
from models_app.api.errors import INTERNAL, as_portal_error
from models_app.api.permissions import VerbPermission
from models_app.services.keys import HOW_TO_SEND, PREDICT, KnownKey, secret_in
from portal.lean.asgi import Receive, Scope, Send
from portal.lean.exchange import ClientLeft, Exchange, new_request_id
from portal.lean.predict import PredictCalls
from portal.lean.registry import Registry
from portal.lean.routes import Route
from portal.lean.threads import ThreadLender
from portal.lean.v1 import V1Calls
from portal.lean.v2 import V2Calls

logger = logging.getLogger("portal.lean")


class InferencePath:
    """`route` says whether a request is for here, `answer` answers it."""

    def __init__(self, threads: ThreadLender) -> None:
        self._registry = Registry()
        self._predict = PredictCalls(self._registry)
        self._v2 = V2Calls(self._registry, threads)
        self._v1 = V1Calls(self._registry, threads)

    def start(self) -> None:
        self._registry.start()

    def route(self, scope: Scope) -> Route | None:
        path: str = scope["path"]
        route: Route | None = None
        if path.startswith("/api/models/"):
            route = self._predict.route(scope)
        elif path.startswith("/v2"):
            route = self._v2.route(scope["method"], path)
        elif path[:3].lower() == "/v1":
            route = self._v1.route(scope["method"], path)
        if route is None or not _is_addressed_to_us(scope, needs_tls=route.permission is not None):
            return None
        return route

    async def answer(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        self._registry.start()
        exchange = Exchange(scope, receive, send, route.render)
        try:
            key = await self._authorise(exchange, route.permission)
            await exchange.answer(await route.work(exchange, key))
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            if not exchange.has_left:
                raise
        except Exception as raised:
            error = as_portal_error(raised)
            if error is None:
                name = new_request_id()
                logger.exception("unexpected error while %s was answered", exchange.path)
                await exchange.refuse(PortalError(INTERNAL), (b"x-request-id", name.encode()))
            else:
                await exchange.refuse(error)

    async def _authorise(self, exchange: Exchange, permission: str | None) -> KnownKey | None:
        """The caller's key. Raises NotAuthenticated or PermissionRefused; without a key only what is open to all."""
        if permission is None:
            return None
        secret = secret_in(exchange.header(b"authorization") or "")
        if secret is None:
            if permission == PREDICT and settings.PORTAL_ANONYMOUS_PREDICT:
                return None
            raise NotAuthenticated(HOW_TO_SEND)
        key = await self._registry.find_key(secret)
        if key is None:
            raise NotAuthenticated("The key is not known, has expired, or its user is not active.")
        if not key.may(permission):
            raise PermissionRefused(VerbPermission.message)
        return key


def _is_addressed_to_us(scope: Scope, *, needs_tls: bool) -> bool:
    """Whether Django would take it too: one of our names, over TLS where that is asked for. Else Django says so."""
    host = str((scope.get("server") or [""])[0])  # where the client names none, as HTTP/1.0 does not
    forwarded = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
        elif name == b"x-forwarded-proto":
            forwarded = value
    if needs_tls and settings.PORTAL_HTTPS and forwarded.partition(b",")[0].strip() != b"https":
        return False
    return _is_our_name(host)


@lru_cache(maxsize=256)
def _is_our_name(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
