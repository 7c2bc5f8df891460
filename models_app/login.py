"""Log-in and change of the password: one page of each for everybody, in the admin and outside of it.

Wrong passwords are counted by user name and address; after too many none is checked (services/throttle.py).
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.views.generic.edit import FormView

from inference.errors import Throttled
from models_app.rights import PREDICT
from models_app.services.client_address import client_address
from models_app.services.throttle import guessing, note_failure


class LoginForm(AdminAuthenticationForm):
    """People without staff rights come in too, and see the try pages only."""

    error_messages = {
        "invalid_login": "The user name or the password is wrong. Both are case-sensitive.",
        "inactive": "This account is switched off. Ask an administrator.",
    }

    def clean(self) -> dict[str, Any]:
        """Raises Throttled, before the password is checked or before it is said whether it was right."""
        user_name = str(self.cleaned_data.get("username", ""))
        address = client_address(self.request) if self.request is not None else ""
        try:
            with guessing(user_name, address):
                return super().clean()
        except ValidationError:
            if self.user_cache is None:
                note_failure(user_name, address)
            raise

    def confirm_login_allowed(self, user: Any) -> None:
        AuthenticationForm.confirm_login_allowed(self, user)


class PasswordForm(PasswordChangeForm):
    """Change one's own password. The old one is checked as at the log-in, where a wrong one counts too."""

    def __init__(self, *args: Any, address: str, **given: Any) -> None:
        super().__init__(*args, **given)
        self.address = address

    def clean_old_password(self) -> str:
        """Raises Throttled as LoginForm does."""
        user_name = self.user.get_username()
        try:
            with guessing(user_name, self.address):
                return super().clean_old_password()
        except ValidationError:
            note_failure(user_name, self.address)
            raise


class LimitedGuesses(FormView):  # type: ignore[type-arg]
    """429 after too many wrong passwords, which the form counts and refuses."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().post(request, *args, **kwargs)
        except Throttled as error:
            given = self.get_form_kwargs()
            del given["data"], given["files"]  # nothing of what was sent is shown again
            context = self.get_context_data(form=self.get_form_class()(**given), throttled=error.message)
            return self.render_to_response(context, status=error.status, headers=error.headers)


class PortalLogin(LimitedGuesses, LoginView):
    """Django's log-in."""

    authentication_form = LoginForm
    redirect_authenticated_user = True
    extra_context = {"title": "Log in", "has_permission": False, "is_nav_sidebar_enabled": False}

    def get_success_url(self) -> str:
        """Staff who may not ask go to the wall: the try pages would only refuse them."""
        there, user = super().get_success_url(), self.request.user
        if there == self.request.path:  # Django takes it for a loop and fails
            there = self.get_default_redirect_url()
        if user.is_staff and not user.has_perm(PREDICT) and there in {reverse("home"), reverse("try-list")}:
            return reverse("admin:index")
        return there


class PortalPassword(LimitedGuesses, PasswordChangeView):
    """Django's change of one's own password, which ends the user's other sessions."""

    form_class = PasswordForm
    success_url = reverse_lazy("password")
    extra_context = {"title": "Change password", "has_permission": True, "is_nav_sidebar_enabled": False}

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "address": client_address(self.request)}

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        messages.success(
            self.request, "Your password was changed. Wherever else you were logged in, you no longer are."
        )
        return super().form_valid(form)
