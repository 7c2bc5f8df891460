"""Unpacks uploaded zip, tar and tar.gz archives: checks every entry first, then copies file by file, counting bytes.

Never extractall: Python 3.11's tar filters can be bypassed. An archive with links, devices or names that point outside
is refused; what file managers add (`__MACOSX`, `.DS_Store`) is left out.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from inference.refusal import FileRejected, shown, size_words

MAX_ENTRIES = 10_000
MAX_DEPTH = 32
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1000
# Trained weights hardly shrink when packed. A factor of 20 allows for pruned ones, FREE_BYTES for small files of zeros.
MAX_EXPANSION = 20
FREE_BYTES = 64 << 20
COPY_BYTES = 1 << 20

DAMAGED = "The archive is damaged or was cut off. Pack the model again and upload the whole file."
PACK_AGAIN = "Pack the model's own files again and upload the new archive."
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, NotImplementedError, ValueError,
    RuntimeError, OverflowError,
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


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """Raises FileRejected if any entry is not allowed, or if the file is not an archive."""
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head[:2] == b"PK":
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
    except gzip.BadGzipFile:
        raise FileRejected(DAMAGED) from None
    except _BROKEN:
        raise FileRejected(DAMAGED) from None


def entry_names(packed: zipfile.ZipFile) -> list[str]:
    """The entries' names, in order. `\\` becomes `/` if no name has a `/`: some Windows programs write `\\` only."""
    names = [info.filename for info in packed.infolist()]
    return names if any("/" in name for name in names) else [name.replace("\\", "/") for name in names]


def _zip(packed: zipfile.ZipFile, size_bytes: int) -> Archive:
    inside = _Contents(size_bytes)
    originals: dict[str, zipfile.ZipInfo] = {}
    for info, written in zip(packed.infolist(), entry_names(packed), strict=True):
        kind = stat.S_IFMT(info.external_attr >> 16)
        inside.check_kind(written, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        if info.flag_bits & 1:
            raise FileRejected("The archive is protected with a password. Upload it without one.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileRejected(f"'{shown(info.filename)}' is packed with a method that is not read here. {PACK_AGAIN}")
        name = inside.add(written, info.file_size, is_folder=written.endswith("/"))
        if name is not None:
            originals[name] = info
    return Archive(inside.entries(), lambda name: packed.open(originals[name]))


def _tar(stream: _Reader, size_bytes: int) -> Archive:
    inside = _Contents(size_bytes)
    originals: dict[str, tarfile.TarInfo] = {}
    with _damage_named():
        packed = tarfile.TarFile(fileobj=cast(IO[bytes], stream), mode="r")
        while (member := packed.next()) is not None:
            is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)
            inside.check_kind(member.name, is_plain and member.sparse is None)
            name = inside.add(member.name, member.size, is_folder=member.isdir())
            if name is not None:
                originals[name] = member

    def open_member(name: str) -> IO[bytes]:
        source = packed.extractfile(originals[name])
        assert source is not None
        return source

    return Archive(inside.entries(), open_member)


class _Contents:
    """The entries read so far; each method raises FileRejected at the first bad entry."""

    def __init__(self, size_bytes: int) -> None:
        self._archive_bytes = size_bytes
        self._seen = 0
        self._total_bytes = 0
        self._files: dict[str, int] = {}
        self._folders: set[str] = set()

    def check_kind(self, name: str, is_plain: bool) -> None:
        if not is_plain:
            raise FileRejected(f"The entry '{shown(name)}' is a link or a device, not a plain file. {PACK_AGAIN}")

    def add(self, raw: str, size_bytes: int, *, is_folder: bool) -> str | None:
        """The name under which the file is unpacked; None if it is not."""
        self._seen += 1
        if self._seen > MAX_ENTRIES:
            raise FileRejected(f"The archive has more than {MAX_ENTRIES:,} entries, which no model has. {PACK_AGAIN}")
        self._total_bytes += size_bytes
        if size_bytes < 0 or self._total_bytes > FREE_BYTES + MAX_EXPANSION * self._archive_bytes:
            raise FileRejected(
                f"Unpacked, the archive would take {size_words(max(self._total_bytes, 0))} or more, though it has only "
                f"{size_words(self._archive_bytes)}. {PACK_AGAIN}"
            )
        parts = _parts(raw)
        if is_folder or not parts or _is_clutter(parts):
            return None
        name = "/".join(parts)
        if name in self._files:
            raise FileRejected(
                f"The archive holds '{shown(name)}' twice, so that nobody can say which one counts. {PACK_AGAIN}"
            )
        self._files[name] = size_bytes
        self._folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
        return name

    def entries(self) -> tuple[Entry, ...]:
        for name in self._files:
            if name in self._folders:
                raise FileRejected(f"The archive holds '{shown(name)}' both as a file and as a folder. {PACK_AGAIN}")
        return tuple(Entry(name, size_bytes) for name, size_bytes in self._files.items())


def _parts(raw: str) -> list[str]:
    if raw.startswith("/") or "\\" in raw or raw[1:2] == ":" or ".." in raw.split("/"):
        raise FileRejected(f"The entry '{shown(raw)}' points outside of the archive. {PACK_AGAIN}")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    encoded = raw.encode("utf-8", "surrogateescape")
    is_long = len(encoded) > MAX_PATH_BYTES or len(parts) > MAX_DEPTH
    if is_long or any(len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES for part in parts):
        raise FileRejected(f"The name '{shown(raw)}' in the archive is too long or nested too deep. {PACK_AGAIN}")
    if any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in raw):
        raise FileRejected(f"The name '{shown(raw)}' in the archive is not readable. {PACK_AGAIN}")
    return parts


def _is_clutter(parts: list[str]) -> bool:
    return parts[0] == "__MACOSX" or parts[-1] in (".DS_Store", "Thumbs.db") or parts[-1].startswith("._")


def folder_of(names: frozenset[str], leaf: str) -> list[str]:
    """The folders ("" is the top) that hold a file named `leaf`, the shallowest first."""
    folders = [str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).name == leaf]
    return sorted(("" if folder == "." else folder for folder in folders), key=lambda f: (f.count("/"), f))
