"""The portal's own login: also for people without staff rights, whom the admin's login refuses."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView as DjangoLoginView
from django.http import HttpRequest, HttpResponse

from inference.errors import Throttled
from models_app.services.throttle import check_throttle, note_failure


class ThrottledLogin(DjangoLoginView):
    """Django's login with the limit of services/throttle.py: 429 after too many wrong passwords."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            check_throttle(self._user_name(), self._address())
        except Throttled as error:
            form = self.get_form_class()(request)  # unbound: the password is not even looked at
            context = self.get_context_data(form=form, throttled=error.message)
            response = self.render_to_response(context, status=error.status)
            response["Retry-After"] = str(error.retry_after_s)
            return response
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        if form.non_field_errors():  # both fields were filled in and do not fit together
            note_failure(self._user_name(), self._address())
        return super().form_invalid(form)

    def _user_name(self) -> str:
        return self.request.POST.get("username", "").strip().replace("\x00", "")

    def _address(self) -> str:
        return str(self.request.META.get("REMOTE_ADDR", ""))


class PortalLogin(ThrottledLogin):
    template_name = "try/login.html"
    redirect_authenticated_user = True
    extra_context = {"title": "Log in", "has_permission": False, "is_nav_sidebar_enabled": False}
