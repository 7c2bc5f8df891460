"""The folders of one runner: `model/` holds its file, `tmp/` is its own. No runner can read the model store."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


def link_or_copy(source: Path, target: Path) -> None:
    """Create the same file under another name: a hard link, or a copy across file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def is_plain_file(path: Path) -> bool:
    """Whether this is a regular file. What a child made is untrusted: it could be a link to another file, or a pipe."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of one runner or child process, removed with it."""

    root: Path

    @classmethod
    def of_model(cls, path: Path) -> Workspace:
        """The workspace whose `prepare` returned this path."""
        return cls(path.parent.parent)

    @property
    def model_directory(self) -> Path:
        return self.root / "model"

    @property
    def tmp_directory(self) -> Path:
        return self.root / "tmp"

    @property
    def cache_directory(self) -> Path:
        """Where an engine finds what was compiled earlier, and stores what it compiles."""
        return self.tmp_directory / "compiled"

    @property
    def canary(self) -> Path:
        """A file that the runner must not be able to open."""
        return self.root / "canary"

    def prepare(self, source: Path, name: str) -> Path:
        """Recreate the folders and put the file in as `name`: a hard link, or a copy across file systems."""
        self.prepare_empty()
        return self.put(source, name)

    def prepare_empty(self) -> None:
        """Recreate the folders, for a process that gets its model later."""
        self.remove()
        for directory in (self.root, self.model_directory, self.tmp_directory):
            directory.mkdir(mode=0o700, parents=True)
        self.canary.write_text("Whoever reads this is not inside the sandbox.")

    def take_over(self, other: Workspace) -> None:
        """Move the folders of `other` here. A process that runs there keeps its access rights: they move along."""
        self.remove()
        other.root.rename(self.root)

    def put(self, source: Path, name: str) -> Path:
        """Put the file into the model's folder: a hard link, or a copy across file systems."""
        target = self.model_directory / name
        link_or_copy(source, target)
        return target

    def remove(self) -> None:
        _remove_tree(self.root)


def _remove_tree(root: Path) -> None:
    """Remove what an untrusted process may have filled. Follows no links; what cannot be removed stays.

    shutil.rmtree fails where folders are nested a thousand deep, and leaves those that may not be read (made with the
    mode 0300). So each folder is moved up into the root before what it holds is removed.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        for path in _content(folder):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(path.lstat().st_mode):
                    path.chmod(0o700)  # a folder that may not be written to cannot be moved
                    waiting.append(path.rename(root / secrets.token_hex(8)))
                else:
                    path.unlink()
        if folder != root:
            with contextlib.suppress(OSError):
                folder.rmdir()
    with contextlib.suppress(OSError):
        root.rmdir()


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def remove_workspaces_of_jobs(folder: Path) -> None:
    """Remove what interrupted jobs left. Call it at the start of the cluster that runs jobs, when none is in use."""
    for path in folder.glob("job-*"):
        Workspace(path).remove()
