from __future__ import annotations

from django.db import models

from inference.host.processes import ProcessIdentity
from models_app.choices import InstanceState
from models_app.models.node import Node
from models_app.models.version import ModelVersion


class Instance(models.Model):
    """One loaded copy of a version, in one process on one node. Its state moves only through services/move.py."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="instances")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="instances")
    state = models.CharField(max_length=12, choices=InstanceState.choices, default=InstanceState.QUEUED)
    state_detail = models.TextField(blank=True, default="")
    state_since = models.DateTimeField()
    generation = models.PositiveIntegerField(default=1, help_text="A task of an older generation does nothing.")
    by = models.CharField(max_length=150, blank=True, default="", help_text="Who asked for the load.")
    created_at = models.DateTimeField(auto_now_add=True)

    boot_id = models.CharField(max_length=36, blank=True, default="")
    owner_pid = models.PositiveIntegerField(null=True, blank=True)
    owner_started_at = models.PositiveBigIntegerField(null=True, blank=True)
    pid = models.PositiveIntegerField(null=True, blank=True, help_text="The runner: the process that holds the model.")
    pid_started_at = models.PositiveBigIntegerField(null=True, blank=True)
    socket = models.CharField(max_length=107, blank=True, default="")
    control = models.CharField(max_length=107, blank=True, default="")

    device = models.CharField(max_length=20, blank=True, default="")
    engine = models.CharField(max_length=20, blank=True, default="")
    precision = models.CharField(max_length=8, blank=True, default="f32")
    sandbox = models.CharField(max_length=8, blank=True, default="none")
    memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    device_memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    device_memory_estimated = models.BooleanField(default=False)
    loaded_at = models.DateTimeField(null=True, blank=True)
    load_seconds = models.FloatField(null=True, blank=True)

    requests = models.PositiveBigIntegerField(default=0)
    errors = models.PositiveBigIntegerField(default=0)
    queue_depth = models.PositiveIntegerField(default=0)
    p95_ms = models.FloatField(null=True, blank=True)
    rates = models.JSONField(default=list, blank=True, help_text="Requests a second, one point each 15 s, at most 20.")
    receipt = models.JSONField(null=True, blank=True, help_text="What the unload gave back.")

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["state"])]

    def __str__(self) -> str:
        return f"{self.version} in process {self.pid or '–'}"

    @property
    def owner(self) -> ProcessIdentity | None:
        return _identity(self.owner_pid, self.owner_started_at, self.boot_id)

    @property
    def runner(self) -> ProcessIdentity | None:
        return _identity(self.pid, self.pid_started_at, self.boot_id)


def _identity(pid: int | None, started_at: int | None, boot_id: str) -> ProcessIdentity | None:
    return ProcessIdentity(pid, started_at, boot_id) if pid and started_at is not None else None


class Transition(models.Model):
    """One change of a state: history and audit in one. Keeps names as text, so that it outlives the version."""

    at = models.DateTimeField(auto_now_add=True)
    model_name = models.CharField(max_length=100)
    version_number = models.PositiveIntegerField()
    instance_number = models.PositiveBigIntegerField(null=True, blank=True)
    before = models.CharField(max_length=12, blank=True, default="")
    after = models.CharField(max_length=12)
    reason = models.TextField(blank=True, default="")
    facts = models.JSONField(default=dict, blank=True, help_text="What the reason says, as data: size_bytes, changed.")
    by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["model_name", "version_number", "-id"], name="history_of_a_version")]

    def __str__(self) -> str:
        return f"{self.model_name} v{self.version_number}: {self.before} → {self.after}"
