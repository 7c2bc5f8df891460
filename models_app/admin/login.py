from __future__ import annotations

from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from models_app.services.throttle import note_failure


class LoginForm(AdminAuthenticationForm):
    """The log-in of the whole portal: people without staff rights come in too, and see the try pages only.

    Wrong passwords are noted; the site refuses further tries (services/throttle.py).
    """

    error_messages = {
        "invalid_login": "The user name or the password is wrong. Both are case-sensitive.",
        "inactive": "This account is switched off. Ask an administrator.",
    }

    def clean(self) -> dict[str, Any]:
        try:
            return super().clean()
        except ValidationError:
            if self.user_cache is None and self.request is not None:
                user_name = str(self.cleaned_data.get("username") or "").replace("\x00", "")
                note_failure(user_name, self.request.META.get("REMOTE_ADDR", ""))
            raise

    def confirm_login_allowed(self, user: Any) -> None:
        AuthenticationForm.confirm_login_allowed(self, user)
