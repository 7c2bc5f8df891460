from __future__ import annotations

from django.db import models


class Node(models.Model):
    """A host with a models cluster."""

    name = models.CharField(max_length=60, unique=True)
    slots = models.PositiveIntegerField(default=0, help_text="How many models it may hold at once.")
    devices = models.JSONField(default=list, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True, help_text="By its models cluster.")
    jobs_last_seen = models.DateTimeField(null=True, blank=True, help_text="By the jobs cluster that runs here.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
