"""A cache of what an engine compiled from a model, kept beside the model file for the next load.

A runner can write only in its own folder, which is removed with it. So the owner copies what earlier runners of the
same file left into that folder, and copies new files back once the runner is ready.

Trust: the cache is written and read only by runners of the same file, inside the same sandbox. Whoever can poison it
has also made the file, and gains nothing that the file could not do directly. But the owner copies with the portal's
rights and does not trust the runner's folder: it takes only regular files with plain names, follows no links, and
limits the number of files and bytes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import stat
from pathlib import Path

logger = logging.getLogger("owner")

MOST_FILES = 8
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_CHUNK_BYTES = 2**20


def lend_compiled(kept: Path, lent: Path) -> None:
    """Create the runner's folder `lent` and copy the kept files into it. No hard links: a runner could write to those.

    Stops at the first file that cannot be copied; the engine then compiles again.
    """
    lent.mkdir(mode=0o700)
    with contextlib.suppress(OSError):
        for path in kept.iterdir():
            if _PLAIN_NAME.fullmatch(path.name):
                shutil.copyfile(path, lent / path.name)


def take_compiled(lent: Path, kept: Path, most_bytes: int) -> None:
    """Copy new files, those of another size, and those below 1 MiB into `kept`; if too much or failing, only log."""
    try:
        folder = os.open(lent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        _take(folder, kept, most_bytes)
    except OSError as error:
        logger.warning("what the engine compiled is not kept: %s", error.strerror)
    finally:
        os.close(folder)


def _take(folder: int, kept: Path, most_bytes: int) -> None:
    names = [name for name in os.listdir(folder) if _PLAIN_NAME.fullmatch(name)]
    facts = {name: os.stat(name, dir_fd=folder, follow_symlinks=False) for name in names}
    sizes = {name: each.st_size for name, each in facts.items() if stat.S_ISREG(each.st_mode)}
    if len(sizes) > MOST_FILES or sum(sizes.values()) > most_bytes:
        logger.warning("what the engine compiled is not kept: it is more than %d bytes", most_bytes)
        return
    kept.mkdir(mode=0o700, exist_ok=True)
    have = {path.name: path.stat().st_size for path in kept.iterdir()}
    if len(have.keys() | sizes.keys()) > MOST_FILES:  # some are of other engines or engine versions: drop those
        for name in have.keys() - sizes.keys():
            (kept / name).unlink(missing_ok=True)
    for name, size in sizes.items():
        if have.get(name) != size or size < _CHUNK_BYTES:  # a large file is named by a hash of its content
            _take_file(folder, name, kept, size)


def _take_file(folder: int, name: str, kept: Path, most_bytes: int) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(source, "rb") as reader:
        facts = os.fstat(source)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            return
        unfinished = kept / f".{os.getpid()}"
        try:
            with unfinished.open("wb") as writer:
                while most_bytes > 0 and (chunk := reader.read(min(_CHUNK_BYTES, most_bytes))):
                    writer.write(chunk)
                    most_bytes -= len(chunk)
            unfinished.replace(kept / name)
        finally:
            unfinished.unlink(missing_ok=True)
