"""The ASGI application: the lean path in front of Django."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from inference.garbage import keep_what_is_there

if TYPE_CHECKING:
    from portal.lean.asgi import Application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from portal.lean.app import LeanApplication  # noqa: E402 - after Django's set-up

application = LeanApplication(cast("Application", django_application))
keep_what_is_there()
