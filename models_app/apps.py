from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class ModelsAppConfig(AppConfig):
    default = True
    name = "models_app"
    verbose_name = "Models"


class ModelsAdminConfig(admin_apps.AdminConfig):
    """Django's admin with the portal's own site: its front page is the wall."""

    default = False
    default_site = "models_app.admin.site.PortalAdminSite"

    def ready(self) -> None:
        """Register our tables last: that needs the site, whose class Django looks up in the same package."""
        super().ready()
        import_module("models_app.admin.tables")
