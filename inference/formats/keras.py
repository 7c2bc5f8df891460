"""Keras 3's .keras files: a zip archive of metadata.json, config.json, model.weights.h5 and perhaps assets."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, cast

import h5py

from inference.archives.entries import check_zip, content_begin, unpacked_limit_bytes
from inference.errors import is_disk_full
from inference.formats.facts import FileFacts
from inference.formats.hdf5 import WEIGHTS_ONLY
from inference.formats.hdf5_tree import StoredWeights, walk_tree
from inference.formats.json_text import DAMAGED as DAMAGED_CONFIG
from inference.formats.json_text import MAX_CONFIG_BYTES, parse_config, too_long
from inference.formats.keras_config import check_config
from inference.formats.keras_memory import memory_notes
from inference.formats.keras_scaling import scaling_notes
from inference.refusal import FileRejected

CONFIG, METADATA, WEIGHTS, NPZ_WEIGHTS = "config.json", "metadata.json", "model.weights.h5", "model.weights.npz"
MAX_METADATA_BYTES = 1 << 20
COPY_BYTES = 1 << 20

_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, struct.error, UnicodeError,
)  # fmt: skip

SAVE_AGAIN = "Save the model again and upload the new file."
DAMAGED = "The archive is damaged or was cut off. Save the model again and upload the whole file."
NO_WEIGHTS = (
    "The archive describes the layers but holds no weights. Save the whole model with model.save('name.keras') and "
    "upload that file."
)


def inspect_keras(path: Path, *, is_trusted: bool = False) -> FileFacts:
    """Raises FileRejected unless this is a whole Keras model and, without `is_trusted`, only of Keras' own parts."""
    size_bytes = path.stat().st_size
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if CONFIG in names and (config_bytes := archive.getinfo(CONFIG).file_size) > MAX_CONFIG_BYTES:
                raise too_long(config_bytes)
            check_zip(archive, size_bytes, SAVE_AGAIN)
            if CONFIG not in names:
                raise FileRejected(WEIGHTS_ONLY)
            if NPZ_WEIGHTS in names and WEIGHTS not in names:
                raise FileRejected(
                    "The weights are kept in the npz form, which is not read here. Save the model again with "
                    "model.save('name.keras') and upload the new file."
                )
            if WEIGHTS not in names:
                raise FileRejected(NO_WEIGHTS)
            config = parse_config(_read(archive, CONFIG, MAX_CONFIG_BYTES))
            if METADATA in names:
                _check_metadata(archive)
            stored = _stored_weights(archive, file, size_bytes, is_trusted)
    except _BROKEN as error:
        if is_disk_full(error):
            raise
        raise FileRejected(DAMAGED) from None
    check_config(config, stored, is_trusted=is_trusted)
    return FileFacts("keras", notes=scaling_notes(config) + memory_notes(config))


def _read(archive: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    with archive.open(name) as entry:
        raw = entry.read(limit_bytes + 1)
    if len(raw) > limit_bytes:
        raise too_long(len(raw))
    return raw


def _check_metadata(archive: zipfile.ZipFile) -> None:
    try:
        parse_config(_read(archive, METADATA, MAX_METADATA_BYTES))
    except FileRejected:
        raise FileRejected(DAMAGED_CONFIG) from None


def _stored_weights(archive: zipfile.ZipFile, file: BinaryIO, size_bytes: int, is_trusted: bool) -> StoredWeights:
    entry = archive.getinfo(WEIGHTS)
    if entry.compress_type == zipfile.ZIP_STORED:
        return _walk_weights(cast(BinaryIO, io.BufferedReader(_Window.of(file, entry))), entry.file_size, is_trusted)
    with tempfile.TemporaryFile() as unpacked, archive.open(entry) as packed:
        _copy(packed, unpacked, unpacked_limit_bytes(size_bytes))
        return _walk_weights(cast(BinaryIO, unpacked), entry.file_size, is_trusted)


def _walk_weights(source: BinaryIO, size_bytes: int, is_trusted: bool) -> StoredWeights:
    try:
        weights = h5py.File(source, "r")
    except (OSError, ValueError, RuntimeError):
        raise FileRejected(
            "The weights inside the archive are damaged. Save the model again and upload the new file."
        ) from None
    with weights:
        return walk_tree(weights, size_bytes, is_trusted=is_trusted)


def _copy(source: IO[bytes], target: IO[bytes], limit_bytes: int) -> None:
    left = limit_bytes
    while chunk := source.read(COPY_BYTES):
        left -= len(chunk)
        if left < 0:
            raise FileRejected(DAMAGED)
        target.write(chunk)
    target.seek(0)


class _Window(io.RawIOBase):
    """A part of an open file, read in place, so that gigabytes of weights are inspected without a copy."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        super().__init__()
        self._file, self._start, self._length, self._at = file, start, length, 0

    @classmethod
    def of(cls, file: BinaryIO, entry: zipfile.ZipInfo) -> _Window:
        """The bytes of a stored entry."""
        return cls(file, content_begin(file, entry), entry.file_size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._length - self._at))
        self._file.seek(self._start + self._at)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
