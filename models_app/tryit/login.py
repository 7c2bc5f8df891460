"""The portal's own login and password: for people without staff rights, whom the admin's pages do not let in."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.views.generic.edit import FormView

from inference.errors import Throttled
from models_app.admin.login import LoginForm, PasswordView
from models_app.rights import PREDICT


class LimitedGuesses(FormView):  # type: ignore[type-arg]
    """429 after too many wrong passwords, which the form counts and refuses."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().post(request, *args, **kwargs)
        except Throttled as error:
            given = self.get_form_kwargs()
            del given["data"], given["files"]  # nothing of what was sent is shown again
            context = self.get_context_data(form=self.get_form_class()(**given), throttled=error.message)
            headers = {"Retry-After": str(error.retry_after_s)}
            return self.render_to_response(context, status=error.status, headers=headers)


class PortalLogin(LimitedGuesses, LoginView):
    """Django's login."""

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


class PortalPassword(LimitedGuesses, PasswordView):
    """The admin's view to change one's own password, on a page of the portal."""

    template_name = "try/password.html"
    success_url = reverse_lazy("password")
    extra_context = {"title": "Change password", "has_permission": True, "is_nav_sidebar_enabled": False}

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        messages.success(
            self.request, "Your password was changed. Wherever else you were logged in, you no longer are."
        )
        return super().form_valid(form)
