from __future__ import annotations

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError

from models_app.services.client_address import client_address
from models_app.services.throttle import guessing, note_failure


class LoginForm(AdminAuthenticationForm):
    """The log-in of the whole portal: people without staff rights come in too, and see the try pages only.

    Wrong passwords are counted by user name and address; after too many none is checked (services/throttle.py).
    """

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

    required_css_class = "required"

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


class PasswordView(PasswordChangeView):
    """Django's view to change one's own password, which ends the user's other sessions."""

    form_class = PasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "address": client_address(self.request)}
