"""The tables as this version of the portal knows them."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.migrations.loader import MigrationLoader

APP = "models_app"


def refuse_newer() -> None:
    """Raises ImproperlyConfigured where a newer version of the portal has changed the tables: this version does
    not know what a row must hold."""
    loader = MigrationLoader(connection)
    unknown = sorted(name for app, name in {*loader.applied_migrations} - {*loader.disk_migrations} if app == APP)
    if unknown:
        raise ImproperlyConfigured(
            f"This data directory was written by a newer version of the portal ({APP} {unknown[-1]}). "
            "Start that one, or restore a backup from before."
        )
