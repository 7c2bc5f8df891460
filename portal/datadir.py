"""The data directory: who may read what in it, and the secret key that is made at the first start."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

UNIX_PATH_LIMIT_BYTES = 107
LONGEST_SOCKET_NAME_BYTES = 40


def read_or_create_secret_key(directory: Path) -> str:
    """The key in `secret_key` (mode 0600), made with O_EXCL if it is not there: two first starts agree on one."""
    path = directory / "secret_key"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.is_file():
            return path.read_text("ascii").strip()
        raise ImproperlyConfigured(
            f"PORTAL_DATA_DIR is {directory}, which cannot be used ({error.strerror}); "
            "name a folder that the portal may make and write to."
        ) from None
    key = secrets.token_urlsafe(64)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key)
    return key


def socket_directory(data_directory: Path) -> Path:
    """Where the sockets lie: in the data directory, or in the system's temp directory if that path is too long.

    An AF_UNIX address ends at 107 bytes. The folder is made with mode 0700 by `make_private`.
    """
    inside = data_directory / "sockets"
    if len(os.fsencode(inside)) + LONGEST_SOCKET_NAME_BYTES <= UNIX_PATH_LIMIT_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"portal-{os.getuid()}-{digest}"


def make_private(directory: Path) -> None:
    """Make a folder that only this user can enter; refuse one that somebody else made in its place."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = directory.lstat()
    if not directory.is_dir() or directory.is_symlink() or facts.st_uid != os.getuid():
        raise ImproperlyConfigured(f"{directory} belongs to somebody else. Remove it or set PORTAL_DATA_DIR.")
    directory.chmod(0o700)
