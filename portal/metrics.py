"""`/metrics` for Prometheus: for a key, a session, or a program on this very machine."""

from __future__ import annotations

import ipaddress
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from models_app.api.rendering import OneRenderer
from models_app.services import metrics

_FORWARDED = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")


class KeySessionOrLoopback(BasePermission):
    """Anyone who is known, and whoever asks from this machine without a proxy between."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated) or _is_from_this_machine(request)


@extend_schema(exclude=True)
class MetricsView(APIView):
    permission_classes = [KeySessionOrLoopback]
    content_negotiation_class = OneRenderer

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(metrics.render(), content_type=CONTENT_TYPE_LATEST)


def _is_from_this_machine(request: Request) -> bool:
    """A proxy on this machine makes everybody's peer a loopback one, and says so in one of these headers."""
    if any(name.startswith(_FORWARDED) for name in request.META):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
