from __future__ import annotations

from django.db import models


class LoginFailure(models.Model):
    """One wrong password, kept for the five minutes that the throttle looks back."""

    user_name = models.CharField(max_length=150)
    address = models.CharField(max_length=45)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["user_name", "address", "at"])]

    def __str__(self) -> str:
        return f"{self.user_name} from {self.address}"
