from __future__ import annotations

from django.conf import settings
from django.db import models


class RegisteredModel(models.Model):
    """A name that people use in addresses; its files are its versions."""

    name = models.SlugField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="registered_models"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_number = models.PositiveIntegerField(default=0, help_text="The newest version number given; never used again.")

    class Meta:
        ordering = ["name"]
        verbose_name = "model"

    def __str__(self) -> str:
        return self.name
