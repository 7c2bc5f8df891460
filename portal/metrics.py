"""`/metrics` for Prometheus: open to a key, a session, or a program on this machine."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.http.request import split_domain_port
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from models_app.api.rendering import OneRenderer
from models_app.services import metrics
from models_app.services.client_address import parsed_address

_FORWARDED = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")


class KeySessionOrLoopback(BasePermission):
    """Authenticated callers, and programs on this machine that connect without a proxy."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated) or _is_from_this_machine(request)


@extend_schema(exclude=True)
class MetricsView(APIView):
    permission_classes = [KeySessionOrLoopback]
    content_negotiation_class = OneRenderer

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(metrics.render(), content_type=CONTENT_TYPE_LATEST)


def _is_from_this_machine(request: Request) -> bool:
    """Behind a proxy on this machine every client seems to be local. A proxy is recognised by the host name it passes
    on or by its headers (_FORWARDED); nginx configured for neither speaks HTTP/1.0, which no client does by now."""
    is_through_proxy = (
        any(name.startswith(_FORWARDED) for name in request.META)
        or split_domain_port(request.get_host())[0] not in settings.LOOPBACK_NAMES
        or getattr(request, "scope", {}).get("http_version") == "1.0"
    )
    peer = parsed_address(request.META.get("REMOTE_ADDR", ""))
    return not is_through_proxy and peer is not None and peer.is_loopback
