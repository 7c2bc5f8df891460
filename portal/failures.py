"""Django's handlers of what no view answered: JSON below `/api/`, a page elsewhere."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from models_app.api.views import missing
from models_app.tryit import views as pages


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """`handler400`: an unknown host, a request that cannot be read."""
    answer = missing.bad_request if request.path.startswith("/api/") else pages.bad_request
    return answer(request, exception)
