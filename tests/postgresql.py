"""A PostgreSQL server of the tests' own, where its programs are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.running_portal import free_port

_LIMIT_S = 60


def programs() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return max(found, key=lambda path: int(path.parts[-3])).parent if found else None


@contextmanager
def postgresql() -> Iterator[str]:
    """DATABASE_URL of an empty database. Nothing is synced, and all is removed at the end.

    The server refuses to run as root: then it runs as the user `postgres`, who comes with the package.
    """
    bin_folder = programs()
    assert bin_folder is not None
    as_user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="portal-postgresql-"))
    data, port = folder / "data", free_port()
    if as_user:
        shutil.chown(folder, "postgres", "postgres")

    def run(program: str, *arguments: str) -> None:
        # Not captured: the server would hold the pipe open.
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_user}
        command = [str(bin_folder / program), "-D", str(data), *arguments]
        subprocess.run(command, cwd=folder, check=True, timeout=_LIMIT_S, **quiet)

    try:
        run("initdb", "--auth=trust", "--username=portal", "--encoding=UTF8", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgres://portal@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
