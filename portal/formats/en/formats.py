"""Dates on Django's own pages, written as on the portal's: 20 Nov 2025, 16:31."""

from __future__ import annotations

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y, H:i"
TIME_FORMAT = "H:i"
