"""All expected failures as exceptions: a stable code, an HTTP status, a sentence for people.

Every layer raises these; each protocol has one handler that renders them. Any other exception is a bug and is answered
with a constant text.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import ClassVar


class PortalError(Exception):
    """An expected failure. `message` is shown to people: no path, no traceback, no class name."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fields = {name: list(texts) for name, texts in (fields or {}).items()}
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says in its head, in every protocol."""
        after_s = 1 if self.retry_after_s is None and self.status in {429, 503} else self.retry_after_s
        return {} if after_s is None else {"Retry-After": str(after_s)}


class ValidationFailed(PortalError):
    """The request has the wrong form; `fields` names the wrong parts."""

    code, status = "validation_error", 400

    @classmethod
    def of(cls, field: str, message: str) -> ValidationFailed:
        return cls(message, fields={field: [message]})


class NotAuthenticated(PortalError):
    code, status = "not_authenticated", 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class PermissionRefused(PortalError):
    code, status = "permission_denied", 403


class NotFound(PortalError):
    code, status = "not_found", 404


class MethodNotAllowed(PortalError):
    """`allowed` are the methods that the address takes; whoever may GET may ask for the HEAD."""

    code, status = "method_not_allowed", 405

    def __init__(self, message: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.allowed = [*allowed, "HEAD"] if "GET" in allowed else list(allowed)

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)} if self.allowed else {}


class RequestTimeout(PortalError):
    """The client stopped sending in the middle of its request."""

    code, status = "request_timeout", 408


class NotReady(PortalError):
    """The file is still being checked, or was rejected."""

    code, status = "not_ready", 409


class NotLoaded(PortalError):
    code, status = "not_loaded", 409


class InUse(PortalError):
    code, status = "in_use", 409


class TooLarge(PortalError):
    code, status = "too_large", 413

    @classmethod
    def of_pictures(cls, most: int) -> TooLarge:
        return cls(f"Send at most {most} pictures at once.")


class UnsupportedMediaType(PortalError):
    code, status = "unsupported_media_type", 415


class BadImage(PortalError):
    """An image that cannot be read, is too large, or has an unsupported format."""

    code, status = "bad_image", 422


class BadInput(PortalError):
    """A well-formed request that does not fit this model's inputs."""

    code, status = "bad_input", 422


class Busy(PortalError):
    """The queue of the instance is full."""

    code, status = "busy", 429

    @classmethod
    def of(cls, queue_limit: int) -> Busy:
        return cls(f"{queue_limit} requests are waiting already. Try again in a second.", retry_after_s=1)


class Throttled(PortalError):
    code, status = "throttled", 429


class RunnerDied(PortalError):
    """The process that held the model ended while the request was with it."""

    code, status = "runner_died", 502


class LoadFailed(PortalError):
    code, status = "load_failed", 502


class EngineFailed(PortalError):
    """The engine failed on valid input, for instance out of memory."""

    code, status = "engine_error", 502


class NoSlot(PortalError):
    code, status = "no_slot", 503


class Unavailable(PortalError):
    code, status = "unavailable", 503


class DeadlinePassed(PortalError):
    code, status = "timeout", 504


class DiskFull(PortalError):
    code, status = "disk_full", 507


def is_disk_full(error: object) -> bool:
    """Whether the system refused a write because the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


ERRORS_BY_CODE: dict[str, type[PortalError]] = {
    error.code: error
    for error in (
        ValidationFailed, NotAuthenticated, PermissionRefused, NotFound, RequestTimeout, NotReady, NotLoaded, InUse,
        TooLarge, UnsupportedMediaType, BadImage, BadInput, Busy, Throttled, RunnerDied, LoadFailed, EngineFailed,
        NoSlot, Unavailable, DeadlinePassed, DiskFull,
    )
}  # fmt: skip
