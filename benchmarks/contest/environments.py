"""The rivals' virtual environments, one each, in a cache outside the tree, made once for their requirements."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.running_portal import ROOT

RIVALS = ROOT / "benchmarks" / "rivals"
INSTALL_LIMIT_S = 900.0
MATERIAL_LIMIT_S = 300.0


class CannotInstall(Exception):
    """The text says why, for the table."""


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "portal-bench"


def environment(name: str) -> Path:
    """The Python of the environment that RIVALS/NAME.txt asks for. Raises CannotInstall."""
    requirements = RIVALS / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    folder = cache() / name
    python, stamp = folder / "bin" / "python", folder / f"installed-{digest}"
    if stamp.exists() and python.exists():
        return python
    print(f"{name}: installing {', '.join(requirements.read_text().split())}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], name)
    _run([str(python), "-m", "pip", "install", "-qq", "-r", str(requirements)], name)
    stamp.touch()
    return python


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise CannotInstall("not installed: pip took too long") from None
    if done.returncode:
        print(f"{name}: {done.stderr.strip()[-2000:]}", file=sys.stderr, flush=True)
        raise CannotInstall("cannot be installed on this machine")


def material() -> Path:
    """The folder with the model, the pictures and the right answers; made once for a version of material.py."""
    source = ROOT / "benchmarks" / "contest" / "material.py"
    digest = hashlib.sha256(source.read_bytes() + (ROOT / "samples" / "digits.keras").read_bytes()).hexdigest()[:16]
    folder = cache() / f"material-{digest}"
    if not (folder / "answers.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.contest.material", str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=MATERIAL_LIMIT_S, check=False)
        if done.returncode:
            raise RuntimeError(f"the model could not be made: {done.stderr[-2000:]}")
    return folder
