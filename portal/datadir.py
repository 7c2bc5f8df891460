"""The data directory: who may read what in it, and the secret key that is made at the first start."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

UNIX_PATH_LIMIT_BYTES = 107
LONGEST_SOCKET_NAME_BYTES = 40


def make(directory: Path) -> None:
    """The data directory, at the first start."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(directory, error) from None


def read_or_create_secret_key(directory: Path) -> str:
    """The key in `secret_key` (mode 0600). A new one is written to a temporary file, then linked unless one exists: so
    nobody reads half a key, and two first starts agree on one."""
    path = directory / "secret_key"
    try:
        if not path.exists():
            _link_new_key(path)
        key = path.read_text("ascii").strip()
    except OSError as error:
        raise _unusable(directory, error) from None
    except UnicodeDecodeError:
        raise _no_key(path, "is no text") from None
    if not key:
        raise _no_key(path, "is empty")
    return key


def _no_key(path: Path, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{path} {why}. Put its text back, or remove it: then everybody logs in anew.")


def _unusable(directory: Path, error: OSError) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"PORTAL_DATA_DIR is {directory}, which cannot be used ({error.strerror}); "
        "name a folder that the portal may make and write to."
    )


def _link_new_key(path: Path) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".secret_key-", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(64))
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)


def socket_directory(data_directory: Path) -> Path:
    """Where the sockets lie: in the data directory, or in the system's temp directory if that path is too long.

    An AF_UNIX path has at most 107 bytes. The folder is made with mode 0700 by `make_private`. Raises
    ImproperlyConfigured where both paths are too long.
    """
    inside = data_directory / "sockets"
    if _has_room(inside):
        return inside
    digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:12]
    outside = Path(tempfile.gettempdir()) / f"portal-{os.getuid()}-{digest}"
    if not _has_room(outside):
        raise ImproperlyConfigured(
            f"PORTAL_DATA_DIR is {data_directory} and TMPDIR {outside.parent}: both are too long for the name of a "
            "socket. Shorten one."
        )
    return outside


def _has_room(folder: Path) -> bool:
    return len(os.fsencode(folder)) + LONGEST_SOCKET_NAME_BYTES <= UNIX_PATH_LIMIT_BYTES


def make_private(directory: Path) -> None:
    """Make a folder that only this user can enter; refuse a link, and one that somebody else made in its place."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_used(directory, error) from None
    facts = directory.lstat()
    if directory.is_symlink():
        raise ImproperlyConfigured(f"{directory} is a link. Put a folder there (a mounted one will do).")
    if not directory.is_dir() or facts.st_uid != os.getuid():
        raise ImproperlyConfigured(f"{directory} belongs to somebody else. Remove it or set PORTAL_DATA_DIR.")
    directory.chmod(0o700)


def cannot_be_used(path: Path, error: OSError) -> ImproperlyConfigured:
    """The error for a path in the data directory where something else is in the way."""
    return ImproperlyConfigured(f"{path} cannot be used ({error.strerror}). Remove it or set PORTAL_DATA_DIR.")
