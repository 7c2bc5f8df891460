from __future__ import annotations

from pathlib import Path

from django.db import models

from inference.catalog import FORMATS
from models_app.models.version import ModelVersion


class Conversion(models.Model):
    """A version's file in another format: made, or why it cannot be made. The file is stored beside the source."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="conversions")
    format = models.CharField(max_length=20)
    sentence = models.TextField(blank=True, default="", help_text="Why it cannot be made; empty where it was.")
    operation = models.CharField(max_length=200, blank=True, default="", help_text="What stands in the way.")
    names = models.JSONField(default=dict, blank=True, help_text="Names that had to change → the original's.")
    size_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["version", "format"], name="one_conversion_a_format")]

    def __str__(self) -> str:
        return f"{self.version} as {FORMATS[self.format].word}"

    @property
    def is_made(self) -> bool:
        return not self.sentence

    @property
    def path(self) -> Path:
        return self.version.directory / "converted" / f"{self.format}{FORMATS[self.format].suffix}"


class Comparison(models.Model):
    """The last measurement of the engines that can run a version; the rows are those of the REST API."""

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="comparison")
    measured_at = models.DateTimeField()
    reference = models.CharField(max_length=20)
    rows = models.JSONField(default=list)
    recommended = models.CharField(max_length=20)
    reason = models.TextField(blank=True, default="")
    inputs = models.CharField(max_length=200, blank=True, default="", help_text="What was asked, in words.")

    def __str__(self) -> str:
        return f"Comparison of {self.version}"
