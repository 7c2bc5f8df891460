"""The store of uploaded files: one folder a version, named by the portal, never by the user."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadedfile import UploadedFile

from inference.errors import DiskFull, TooLarge
from inference.refusal import size_words
from models_app.models import ModelVersion

logger = logging.getLogger("portal.files")
_CHUNK_BYTES = 2**20
DISK_RESERVE_BYTES = 256 * 2**20
"""Left free for the database and what the models themselves write."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that lies complete in the uploads folder. `name` is what the sender called it: a label, never a path."""

    path: Path
    name: str
    size_bytes: int
    sha256: str

    def discard(self) -> None:
        """Remove it if nobody took it."""
        self.path.unlink(missing_ok=True)


def without_folders(name: str) -> str:
    """The last part of what a client calls its file."""
    return name.replace("\x00", "").replace("\\", "/").rpartition("/")[2]


def new_upload_path() -> Path:
    """A path for a new upload. It holds the pid, so that `serve` can remove what a process that ended left."""
    settings.PORTAL_UPLOADS_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(settings.PORTAL_UPLOADS_DIR) / f"{os.getpid()}-{secrets.token_hex(16)}.part"


def check_owner() -> None:
    """Raises ImproperlyConfigured where the store belongs to another user: root could write to it, but the
    owner could not read what root wrote."""
    try:
        owner = Path(settings.PORTAL_FILES_DIR).stat().st_uid
    except OSError:  # it is not there yet, or its first use reports the error
        return
    if owner != os.getuid():
        raise ImproperlyConfigured(f"Run this as the user {_user_name(owner)}, to whom the data directory belongs.")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user of another machine
        return str(uid)


def how_to_pack(folder: Path) -> str:
    """The sentence for a folder where a file is wanted."""
    return f"{folder.name} is a folder. Pack it as .zip, .tar or .tar.gz and import that."


def check_size(size_bytes: int) -> None:
    """Raises TooLarge for a file that is larger than may be sent."""
    if size_bytes > settings.PORTAL_MAX_UPLOAD_BYTES:
        raise TooLarge(f"A file may hold at most {size_words(settings.PORTAL_MAX_UPLOAD_BYTES)}.")


def form_limit_bytes() -> int:
    """The size limit of a file in the form without JavaScript."""
    return min(settings.PORTAL_FORM_UPLOAD_BYTES, settings.PORTAL_MAX_UPLOAD_BYTES)


def check_disk(size_bytes: int) -> None:
    """Raises DiskFull where a file of this size would not leave enough free."""
    settings.PORTAL_UPLOADS_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.PORTAL_UPLOADS_DIR).free
    if free - size_bytes < DISK_RESERVE_BYTES:
        raise DiskFull(
            f"To take this file, the disk must have {size_words(size_bytes + DISK_RESERVE_BYTES)} free, of which "
            f"{size_words(DISK_RESERVE_BYTES)} stay in reserve; it has {size_words(free)}. Delete versions that nobody "
            "needs and try again."
        )


def receive_copy(source: Path, name: str) -> ReceivedFile:
    """Copy a file that is already on this machine into the uploads folder, hashing on the way."""
    with source.open("rb") as reader:
        return receive_opened(reader, name)


def receive_opened(reader: IO[bytes], name: str) -> ReceivedFile:
    """As `receive_copy`, for a file that is open already."""
    check_disk(os.fstat(reader.fileno()).st_size)
    return _receive(iter(lambda: reader.read(_CHUNK_BYTES), b""), name)


def receive_bytes(data: bytes, name: str) -> ReceivedFile:
    """Write data that is already in memory into the uploads folder."""
    check_disk(len(data))
    return _receive(iter([data]), name)


def receive_upload(uploaded: UploadedFile[Any]) -> ReceivedFile:
    """Copy a file that came through a Django form into the uploads folder, hashing on the way."""
    check_disk(uploaded.size or 0)
    return _receive(uploaded.chunks(_CHUNK_BYTES), without_folders(uploaded.name or ""))


def _receive(chunks: Iterable[bytes], name: str) -> ReceivedFile:
    """Write the chunks to a new file in the uploads folder; whatever is raised, no file stays."""
    target = new_upload_path()
    digest, size = hashlib.sha256(), 0
    try:
        with open_new(target) as writer:
            for chunk in chunks:
                digest.update(chunk)
                writer.write(chunk)
                size += len(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return ReceivedFile(target, name, size, digest.hexdigest())


def open_new(path: Path) -> IO[bytes]:
    """A file that did not exist before, readable by this user alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def store(received: ReceivedFile) -> str:
    """Move a received file into the store; returns the key of its folder. Whatever is raised, no folder stays."""
    key = secrets.token_hex(16)
    directory = Path(settings.PORTAL_FILES_DIR) / key
    try:
        directory.mkdir(mode=0o700, parents=True)
        move_into_place(received.path, directory / "source")
    except BaseException:
        remove(key)
        raise
    return key


def remove(key: str) -> None:
    """Remove the folder of a version with all that was made from its file."""
    folder = Path(settings.PORTAL_FILES_DIR) / key
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        logger.error("the folder %s of the store could not be removed", key)


def compiled_directory(version: ModelVersion) -> Path:
    """The folder of what engines compiled from this file; deleted with it."""
    return version.directory / "compiled"


def is_unchanged(path: Path, sha256: str) -> bool:
    """Whether the file is the one that was kept. Damage is silent: most flipped bytes load and run."""
    return not what_is_wrong(path, sha256)


def what_is_wrong(path: Path, sha256: str) -> str:
    """A sentence where this is not the file that was uploaded, else nothing."""
    try:
        if hash_of(path) == sha256:
            return ""
    except FileNotFoundError:
        return "The file is gone from the disk. Put it back, or upload it again."
    except OSError as error:
        return f"The file on disk cannot be read: {error.strerror}."
    return "The file on disk is not the one that was uploaded. Put that back, or upload it again."


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move_into_place(made: Path, target: Path) -> None:
    """Move a file to its name in one step or not at all, also across file systems."""
    part = target.with_name(f"{target.name}.part")
    shutil.move(made, part)
    part.chmod(0o600)
    part.replace(target)


def orphans() -> list[str]:
    """Names of folders in the store that no version knows. They are reported, never deleted."""
    directory = Path(settings.PORTAL_FILES_DIR)
    known = set(ModelVersion.objects.values_list("file_key", flat=True))
    return sorted(p.name for p in directory.iterdir() if p.name not in known) if directory.is_dir() else []
