from __future__ import annotations

from django.contrib import admin


class PortalAdminSite(admin.AdminSite):
    site_header = "Model portal"
    site_title = "Model portal"
    index_title = "Wall"
    enable_nav_sidebar = False  # the tables need the width
