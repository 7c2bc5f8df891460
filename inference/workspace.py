"""The folders of one runner: `model/` holds its file, `tmp/` is its own. No runner reads the store of all models."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


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
    def canary(self) -> Path:
        """A file that the runner must not be able to open."""
        return self.root / "canary"

    def prepare(self, source: Path, name: str) -> Path:
        """Make the folders anew and put the file in as `name`: a hard link, or a copy across file systems."""
        self.remove()
        for directory in (self.root, self.model_directory, self.tmp_directory):
            directory.mkdir(mode=0o700, parents=True)
        self.canary.write_text("Whoever reads this is not inside the sandbox.")
        target = self.model_directory / name
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
        return target

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


JOB_PREFIXES = ("check-", "convert-", "compare-")


def remove_workspaces_of_jobs(folder: Path) -> None:
    """At the start of the cluster that runs jobs none of theirs is in use, whatever was cut off before."""
    for prefix in JOB_PREFIXES:
        for path in folder.glob(f"{prefix}*"):
            Workspace(path).remove()
