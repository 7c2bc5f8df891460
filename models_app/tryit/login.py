"""The portal's own login: also for people without staff rights, whom the admin's pages do not let in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from inference.errors import Throttled
from models_app.admin.login import LoginForm
from models_app.api.views.base import PREDICT


class PortalLogin(LoginView):
    """Django's login; 429 after too many wrong passwords, which the form counts and refuses."""

    template_name = "try/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True
    extra_context = {"title": "Log in", "has_permission": False, "is_nav_sidebar_enabled": False}

    def get_success_url(self) -> str:
        """Staff who may not ask go to the wall: the try pages would only refuse them."""
        there, user = super().get_success_url(), self.request.user
        if user.is_staff and not user.has_perm(PREDICT) and there in {reverse("home"), reverse("try-list")}:
            return reverse("admin:index")
        return there

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().post(request, *args, **kwargs)
        except Throttled as error:
            form = LoginForm(request)  # unbound: nothing of what was sent is shown again
            context = self.get_context_data(form=form, throttled=error.message)
            headers = {"Retry-After": str(error.retry_after_s)}
            return self.render_to_response(context, status=error.status, headers=headers)
