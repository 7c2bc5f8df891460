"""Unpacking an archive of several files for an engine that wants a folder.

Member by member with a byte counter, regular files only, each opened so that it cannot replace another: `extractall`
follows links that an archive brings along.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from inference.engines import ModelUnusable

MAX_FILES = 10_000
MAX_BYTES = 16 * 2**30
_COPY_BYTES = 1 << 20


def unpack(archive: Path, folder: Path) -> None:
    """Put the files of a zip or tar archive under `folder`. Raises ModelUnusable with a sentence."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _copy_all(_zip_members(opened), folder)
        else:
            with tarfile.open(archive) as packed:
                _copy_all(_tar_members(packed), folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, FileExistsError, NotADirectoryError) as error:
        raise ModelUnusable("The archive is damaged or was cut off. Pack the folder again.") from error


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes]]]:
    for entry in archive.infolist():
        if not entry.is_dir():
            with archive.open(entry) as content:
                yield entry.filename, content


def _tar_members(archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in archive:
        if member.isdir():
            continue
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
            raise ModelUnusable("The archive holds links or special files. Pack plain files only.")
        yield member.name, content


def _copy_all(members: Iterator[tuple[str, IO[bytes]]], folder: Path) -> None:
    left = MAX_BYTES
    for count, (name, content) in enumerate(members, start=1):
        if count > MAX_FILES:
            raise ModelUnusable(f"The archive holds more than {MAX_FILES:,} files.")
        parts = PurePosixPath(name).parts
        if not parts or parts[0] == "/" or ".." in parts or "\\" in name or "\0" in name:
            raise ModelUnusable("The archive names a place outside of itself. Pack the folder again.")
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := content.read(min(_COPY_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise ModelUnusable(f"Unpacked, the archive takes more than {MAX_BYTES / 2**30:.0f} GiB.")
                file.write(chunk)
