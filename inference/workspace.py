"""The folders of one runner: `model/` holds its file, `tmp/` is its own. No runner reads the store of all models."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name: a hard link, or a copy across file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def is_plain_file(path: Path) -> bool:
    """No link to somebody else's file, no pipe that is never written: what a child has made is not to be trusted."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder made for one instance and removed with it."""

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
        """Where an engine finds what it compiled before, and leaves what it compiles."""
        return self.tmp_directory / "compiled"

    @property
    def canary(self) -> Path:
        """A file that the runner must not be able to open."""
        return self.root / "canary"

    def prepare(self, source: Path, name: str) -> Path:
        """Make the folders anew and put the file in as `name`: a hard link, or a copy across file systems."""
        self.prepare_empty()
        return self.put(source, name)

    def prepare_empty(self) -> None:
        """Make the folders anew, for a process that gets its model later."""
        self.remove()
        for directory in (self.root, self.model_directory, self.tmp_directory):
            directory.mkdir(mode=0o700, parents=True)
        self.canary.write_text("Whoever reads this is not inside the sandbox.")

    def take_over(self, other: Workspace) -> None:
        """Become `other`, which is no more. A process that lives in it keeps its rights: they go with the folders."""
        self.remove()
        other.root.rename(self.root)

    def put(self, source: Path, name: str) -> Path:
        """Put the file into the model's folder: a hard link, or a copy across file systems."""
        target = self.model_directory / name
        link_or_copy(source, target)
        return target

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def remove_workspaces_of_jobs(folder: Path) -> None:
    """At the start of the cluster that runs jobs none of theirs is in use, whatever was cut off before."""
    for path in folder.glob("job-*"):
        Workspace(path).remove()
