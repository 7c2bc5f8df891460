"""`manage.py serve`: the whole portal in the foreground."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from portal.serve import Portal


class Command(BaseCommand):
    help = "Run the whole portal: web server, jobs cluster and this node's models cluster."
    requires_system_checks = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:
        raise SystemExit(Portal(self.stdout).run())
