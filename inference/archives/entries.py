"""What an archive from outside may hold: the names, kinds and sizes of its entries, checked before any is unpacked.

Every zip and tar goes through EntryCheck. What file managers add (`__MACOSX`, `.DS_Store`) is left out.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from typing import IO

from inference.refusal import FileRejected, shown, size_words

MAX_ENTRIES = 10_000
MAX_DEPTH = 32
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1000
# Trained weights hardly shrink when packed. A factor of 20 allows for pruned ones, FREE_BYTES for small files of zeros.
MAX_EXPANSION = 20
FREE_BYTES = 64 << 20

_LOCAL_HEADER = struct.Struct("<4s22xHH")

PACK_AGAIN = "Pack the model's own files again and upload the new archive."


def unpacked_limit_bytes(archive_bytes: int) -> int:
    """The most that an archive of this size may unpack to."""
    return FREE_BYTES + MAX_EXPANSION * archive_bytes


def entry_names(packed: zipfile.ZipFile) -> list[str]:
    """The entries' names, in order. `\\` becomes `/` if no name has a `/`: some Windows programs write `\\` only."""
    names = [info.filename for info in packed.infolist()]
    return names if any("/" in name for name in names) else [name.replace("\\", "/") for name in names]


def check_zip(packed: zipfile.ZipFile, archive_bytes: int, advice: str = PACK_AGAIN) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by the names under which they are unpacked. Raises FileRejected at the first bad entry."""
    check = EntryCheck(archive_bytes, advice)
    files: dict[str, zipfile.ZipInfo] = {}
    for info, written in zip(packed.infolist(), entry_names(packed), strict=True):
        if info.flag_bits & 1:
            raise FileRejected("The archive is protected with a password. Upload it without one.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileRejected(f"'{shown(written)}' is packed with a method that is not read here. {advice}")
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        name = check.add(written, info.file_size, is_plain=is_plain, is_folder=written.endswith("/"))
        if name is not None:
            files[name] = info
    check.end()
    return files


def content_begin(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin, as its local header says (APPNOTE.TXT, 4.3.7). Raises BadZipFile."""
    file.seek(entry.header_offset)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if magic != b"PK\x03\x04":
        raise zipfile.BadZipFile
    return int(entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length)


class EntryCheck:
    """The entries of one archive read so far. Its methods raise FileRejected, whose sentence ends with `advice`."""

    def __init__(self, archive_bytes: int, advice: str = PACK_AGAIN) -> None:
        self._archive_bytes = archive_bytes
        self._advice = advice
        self._entries = 0
        self._total_bytes = 0
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, raw: str, size_bytes: int, *, is_plain: bool, is_folder: bool) -> str | None:
        """The name under which a file is unpacked; None if it is not. `is_plain`: a file or folder, not a link."""
        if not is_plain:
            raise self._refusal(f"The entry '{shown(raw)}' is a link or a device, not a plain file.")
        self._count(size_bytes)
        parts = self._parts(raw)
        if is_folder or not parts or _is_clutter(parts):
            return None
        name = "/".join(parts)
        if name in self._files:
            raise self._refusal(f"The archive holds '{shown(name)}' twice, so that nobody can say which one counts.")
        self._files.add(name)
        self._folders.update("/".join(parts[:n]) for n in range(1, len(parts)))
        return name

    def end(self) -> None:
        """Called after the last entry."""
        for name in self._files & self._folders:
            raise self._refusal(f"The archive holds '{shown(name)}' both as a file and as a folder.")

    def _count(self, size_bytes: int) -> None:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise self._refusal(f"The archive has more than {MAX_ENTRIES:,} entries, which no model has.")
        self._total_bytes += size_bytes
        if size_bytes < 0 or self._total_bytes > unpacked_limit_bytes(self._archive_bytes):
            raise self._refusal(
                f"Unpacked, the archive would take {size_words(max(self._total_bytes, 0))} or more, though it has only "
                f"{size_words(self._archive_bytes)}."
            )

    def _parts(self, raw: str) -> list[str]:
        if raw.startswith("/") or "\\" in raw or raw[1:2] == ":" or ".." in raw.split("/"):
            raise self._refusal(f"The entry '{shown(raw)}' points outside of the archive.")
        parts = [part for part in raw.split("/") if part not in ("", ".")]
        lengths = [len(part.encode("utf-8", "surrogateescape")) for part in (raw, *parts)]
        if lengths[0] > MAX_PATH_BYTES or max(lengths[1:], default=0) > MAX_NAME_BYTES or len(parts) > MAX_DEPTH:
            raise self._refusal(f"The name '{shown(raw)}' in the archive is too long or nested too deep.")
        if any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in raw):
            raise self._refusal(f"The name '{shown(raw)}' in the archive is not readable.")
        return parts

    def _refusal(self, sentence: str) -> FileRejected:
        return FileRejected(f"{sentence} {self._advice}")


def _is_clutter(parts: list[str]) -> bool:
    return parts[0] == "__MACOSX" or parts[-1] in (".DS_Store", "Thumbs.db") or parts[-1].startswith("._")
