"""`manage.py run_cluster jobs|models`: one of the two clusters in the foreground. `serve` starts both."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

NAMES = {"jobs": settings.JOBS_CLUSTER, "models": settings.MODELS_CLUSTER}


class Command(BaseCommand):
    help = "Run a cluster of the portal in the foreground."
    requires_system_checks = ()  # `serve` has made them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", choices=sorted(NAMES))

    def handle(self, *args: Any, **options: Any) -> None:
        kind = options["cluster"]
        if os.environ.get("Q_CLUSTER_NAME") != NAMES[kind]:
            self.stderr.write(f"Set Q_CLUSTER_NAME={NAMES[kind]} in the environment: django-q reads it once at import.")
            raise SystemExit(2)
        from models_app import clusters  # django-q reads its settings when it is imported

        clusters.run_jobs() if kind == "jobs" else clusters.run_models()
