from __future__ import annotations

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from models_app.services.throttle import guessing, note_failure


class LoginForm(AdminAuthenticationForm):
    """The log-in of the whole portal: people without staff rights come in too, and see the try pages only.

    Wrong passwords are noted under the name that is looked up, and after too many none is tried (services/throttle.py).
    """

    error_messages = {
        "invalid_login": "The user name or the password is wrong. Both are case-sensitive.",
        "inactive": "This account is switched off. Ask an administrator.",
    }

    def clean(self) -> dict[str, Any]:
        """Raises Throttled, before the password is looked at or before it is said whether it was right."""
        user_name = str(self.cleaned_data.get("username", ""))
        address = str(self.request.META.get("REMOTE_ADDR", "")) if self.request is not None else ""
        try:
            with guessing(user_name, address):
                return super().clean()
        except ValidationError:
            if self.user_cache is None:
                note_failure(user_name, address)
            raise

    def confirm_login_allowed(self, user: Any) -> None:
        AuthenticationForm.confirm_login_allowed(self, user)
