from __future__ import annotations

from django.conf import settings
from django.db import models

from inference.host.processes import ProcessIdentity
from inference.workspace import Workspace
from models_app.choices import JobKind, JobState
from models_app.models.version import ModelVersion


class Job(models.Model):
    """A background job: queued again once if its worker was lost, then failed."""

    kind = models.CharField(max_length=12, choices=JobKind.choices)
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="jobs")
    target = models.CharField(max_length=20, blank=True, default="", help_text="Of a conversion: the format.")
    state = models.CharField(max_length=8, choices=JobState.choices, default=JobState.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0, help_text="0 to 100")
    detail = models.TextField(blank=True, default="")
    result = models.JSONField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    boot_id = models.CharField(max_length=36, blank=True, default="")
    pid = models.PositiveIntegerField(null=True, blank=True, help_text="The worker that does it.")
    pid_started_at = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def workspace(self) -> Workspace:
        """A folder for this job alone, gone when it ends: jobs of the same version may follow at once."""
        return Workspace(settings.PORTAL_RUN_DIR / f"job-{self.pk}")

    @property
    def worker(self) -> ProcessIdentity | None:
        if not self.pid or self.pid_started_at is None:
            return None
        return ProcessIdentity(self.pid, self.pid_started_at, self.boot_id)
