"""Unpacks uploaded zip, tar and tar.gz archives: checks every entry first, then copies file by file, counting bytes.

Never extractall: Python 3.11's tar filters can be bypassed. What is refused: entries.py.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from inference.archives.entries import EntryCheck, check_zip
from inference.refusal import FileRejected

COPY_BYTES = 1 << 20
_ZIP = b"PK"

DAMAGED = "The archive is damaged or was cut off. Pack the model again and upload the whole file."
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error, EOFError, NotImplementedError,
    ValueError, RuntimeError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One plain file; `name` is relative, with `/`, without `.` and `..`."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Archive:
    """The contents of an archive; usable only inside `with opened_archive`."""

    entries: tuple[Entry, ...]
    _open: Callable[[str], IO[bytes]]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self.entries)

    def copy(self, entry: Entry, target: IO[bytes]) -> None:
        """Raises FileRejected if there are more or fewer bytes than the archive declares."""
        left = entry.size_bytes
        with _damage_named(), self._open(entry.name) as source:
            while chunk := source.read(min(COPY_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                target.write(chunk)
        if left:
            raise FileRejected(DAMAGED)


def is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")) or head[257:262] == b"ustar"


def is_zip(path: Path) -> bool:
    """Of an archive. What follows a tar does not count, as it does for zipfile.is_zipfile."""
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Raises FileRejected if any entry is not allowed, or if the file is not an archive."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(_ZIP):
            with _damage_named():
                packed = zipfile.ZipFile(file)
            with packed:
                yield _zip(packed, size_bytes)
        elif head[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield _tar(_Reader(unpacked), size_bytes)
        else:
            yield _tar(_Reader(file), size_bytes)


def unpack(path: Path, folder: Path) -> None:
    """Copy everything into a new `folder`, which appears complete or not at all. Raises FileRejected, OSError."""
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(mode=0o700)
    try:
        with opened_archive(path) as archive:
            for entry in archive.entries:
                target = partial / entry.name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                with os.fdopen(descriptor, "wb") as out:
                    archive.copy(entry, out)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


class _Reader:
    """A stream for tarfile that refuses reads of more than about COPY_BYTES: a tar header can ask for a gigabyte."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= COPY_BYTES + tarfile.BLOCKSIZE:
            raise FileRejected(DAMAGED)
        return cast(bytes, self._stream.read(size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except _BROKEN:
        raise FileRejected(DAMAGED) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # zipfile seeks to where an entry would begin: before the file's start
            raise
        raise FileRejected(DAMAGED) from None


def _zip(packed: zipfile.ZipFile, size_bytes: int) -> Archive:
    originals = check_zip(packed, size_bytes)
    entries = tuple(Entry(name, info.file_size) for name, info in originals.items())
    return Archive(entries, lambda name: packed.open(originals[name]))


def _tar(stream: _Reader, size_bytes: int) -> Archive:
    check = EntryCheck(size_bytes)
    originals: dict[str, tarfile.TarInfo] = {}
    with _damage_named():
        packed = tarfile.TarFile(fileobj=cast(IO[bytes], stream), mode="r")
        while (member := packed.next()) is not None:
            is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) and member.sparse is None
            name = check.add(member.name, member.size, is_plain=is_plain, is_folder=member.isdir())
            if name is not None:
                originals[name] = member
    check.end()

    def open_member(name: str) -> IO[bytes]:
        source = packed.extractfile(originals[name])
        assert source is not None
        return source

    return Archive(tuple(Entry(name, member.size) for name, member in originals.items()), open_member)


def folder_of(names: frozenset[str], leaf: str) -> list[str]:
    """The folders ("" is the top) that hold a file named `leaf`, the shallowest first."""
    folders = [str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).name == leaf]
    return sorted(("" if folder == "." else folder for folder in folders), key=lambda f: (f.count("/"), f))
