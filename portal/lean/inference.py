"""Inference in front of Django: find the route, authorise the caller, read the request, ask the runner.

Usually nothing of this touches the database or changes threads: loaded versions and keys are in memory (registry.py),
each runner is asked over one connection (inference/client.py). Other requests go to Django.
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
from models_app.rights import PREDICT
from models_app.services.keys import HOW_TO_SEND, NOT_VALID, KnownKey, secret_in
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
    """`route` says whether a request is answered here; if so, `answer` does it."""

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
        """The caller's key, None where the route needs none. Raises NotAuthenticated or PermissionRefused."""
        if permission is None:
            return None
        secret = secret_in(exchange.header(b"authorization") or "")
        if secret is None:
            if permission == PREDICT and settings.PORTAL_ANONYMOUS_PREDICT:
                return None
            raise NotAuthenticated(HOW_TO_SEND)
        key = await self._registry.find_key(secret)
        if key is None:
            raise NotAuthenticated(NOT_VALID)
        if not key.may(permission):
            raise PermissionRefused(VerbPermission.message)
        return key


def _is_addressed_to_us(scope: Scope, *, needs_tls: bool) -> bool:
    """Whether host name and TLS are as Django requires. If not, Django gets the request and refuses it."""
    host = str((scope.get("server") or [""])[0])  # where the client sends no Host, as with HTTP/1.0
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
