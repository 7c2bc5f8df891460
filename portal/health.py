"""`/healthz`: this process answers. `/readyz`: database, broker and clusters do too. `/`: redirects browsers."""

from __future__ import annotations

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from models_app import queue
from models_app.models import Node
from models_app.services.keys import secret_in
from models_app.services.nodes import are_jobs_silent, is_silent


@csrf_exempt  # else a wrong method gets an error about cookies
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"ok": True})


@csrf_exempt  # else a POST with a key gets an error about cookies
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """KServe's client asks here whether a V1 server is alive; a request with a key is not a browser's."""
    has_key = secret_in(request.headers.get("Authorization", "")) is not None
    return JsonResponse({"status": "alive"}) if has_key else HttpResponseRedirect("/try/")


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200, or 503 with the JSON list of what does not answer."""
    missing = [
        name
        for name, answers in (("database", _database), ("broker", _broker), ("clusters", _clusters))
        if not answers()
    ]
    return JsonResponse(missing, safe=False, status=503) if missing else JsonResponse({"ready": True})


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except Error:
        return False


def _broker() -> bool:
    return queue.is_there(settings.JOBS_CLUSTER)


def _clusters() -> bool:
    try:
        nodes = list(Node.objects.all())
    except Error:
        return False
    return bool(nodes) and not any(is_silent(node) or are_jobs_silent(node) for node in nodes)
