"""The ASGI application: the lean path in front of Django."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, cast

from inference.garbage import keep_what_is_there
from inference.processes import die_with_parent

if TYPE_CHECKING:
    from portal.lean.asgi import Application

if os.environ.get("PORTAL_SERVED_BY"):
    # Started by `serve`: a worker must not outlive the server's main process, also when that is killed.
    die_with_parent(os.getppid())
    with contextlib.suppress(OSError):  # whoever wakes up does not interrupt a model: docs/adr/0012
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # A page is made on a thread that keeps Python's lock from the event loop, and its predictions, for this long.
    sys.setswitchinterval(0.0005)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from portal.lean.app import LeanApplication  # noqa: E402 - after Django's set-up

application = LeanApplication(cast("Application", django_application))
keep_what_is_there()
