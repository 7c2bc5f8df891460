"""`manage.py serve`: set up, then supervise child processes. One that ends is started again; all stop together.

`serve` holds the listening socket, so a client that connects while a web process restarts waits and is not refused.
"""

from __future__ import annotations

import compileall
import contextlib
import errno
import fcntl
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.db import Error, connection, connections
from django.db.migrations.exceptions import MigrationSchemaMissing
from django_q.brokers import get_broker

from inference.host.processes import identify, is_alive, reap_orphans
from inference.workspace import remove_workspaces_of_jobs
from models_app import schema
from models_app.models import Node
from models_app.outage import without_database
from models_app.services import files
from models_app.services.database_retry import without_waiting
from models_app.services.dispatch import queue_cut_off
from models_app.services.nodes import node_at_work
from portal import datadir, env, first_start
from portal.child_process import Child, end_all

logger = logging.getLogger("portal.serve")

ALREADY_RUNNING = 3
NO_DATABASE = NO_BROKER = 1
WEB_GRACE_S = 20.0
CLUSTER_GRACE_S = 10.0
_LOOK_EVERY_S = 0.2
_SOON_READY_S = 60.0
_WEB = "web"
_MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]


class NoBroker(Exception):
    """The configured broker does not answer: the clusters would end again and again."""


class AlreadyRunning(Exception):
    """Another `serve` holds this data directory, the port or the database."""


@dataclass
class Portal:
    """`run` blocks until SIGTERM, SIGQUIT, Ctrl-C, or until its terminal is closed; returns the exit code."""

    out: Any
    is_stopping: bool = False
    children: list[Child] = field(default_factory=list)

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # `nohup` ignores it
                signal.signal(number, self._ask_to_stop)
        try:
            with _hold_data_directory(), _hold_port() as listener, _socket_folder():
                self._set_up(listener)
        except AlreadyRunning as error:
            self._say(str(error))
            return ALREADY_RUNNING
        except (Error, MigrationSchemaMissing) as error:
            self._say(without_database(error))
            return NO_DATABASE
        except NoBroker as error:
            self._say(str(error))
            return NO_BROKER
        return 0

    def _say(self, line: str) -> None:
        """Print and flush, because the output may be a pipe."""
        self.out.write(line)
        self.out.flush()

    def _ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        self.is_stopping = True

    def _set_up(self, listener: socket.socket) -> None:
        os.umask(0o077)
        for directory in (settings.PORTAL_RUN_DIR, settings.PORTAL_FILES_DIR):
            datadir.make_private(directory)
        _remove_sockets_and_part_files()
        _compile_for_runners()
        if settings.REDIS_URL:
            _reach_redis()
        schema.refuse_newer()
        if env.text("DATABASE_URL"):  # else it is in the data directory, which is locked
            _refuse_second()
        call_command("migrate", interactive=False, verbosity=0)
        _make_database_private()
        for line in first_start.prepare():
            self._say(line)
        self.children = [*_web(listener), *_clusters()]
        try:
            for child in self.children:
                child.start()
            self._announce()
            while not self.is_stopping:
                for child in self.children:
                    child.look()
                reap_orphans([child.process.pid for child in self.children if child.process is not None])
                time.sleep(_LOOK_EVERY_S)
        finally:
            self._stop(listener)

    def _announce(self) -> None:
        """Say when the portal is ready; after 60 s, that the web does not answer yet."""
        address = f"http://{settings.HOST_IN_URLS}:{settings.PORTAL_PORT}"
        is_late_at = time.monotonic() + _SOON_READY_S
        while not self.is_stopping:
            with contextlib.suppress(OSError), socket.create_connection((_connect_host(), settings.PORTAL_PORT), 0.5):
                self._say(f"The portal is ready at {address} (stop it with Ctrl-C).")
                return
            if time.monotonic() > is_late_at:
                is_late_at = math.inf
                self._say(
                    f"The web process does not answer at {address} yet. What it printed may say why; it is waited for."
                )
            for child in self.children:
                child.look()
            time.sleep(0.05)

    def _stop(self, listener: socket.socket) -> None:
        """Stop the web processes first, so that no request waits for a model that is ending; then the clusters."""
        self.is_stopping = True
        web = [child for child in self.children if child.name.startswith(_WEB)]
        end_all(web)
        listener.close()  # new connections are refused now
        end_all([child for child in self.children if child not in web])
        remove_workspaces_of_jobs(settings.PORTAL_RUN_DIR)  # of jobs that were cut off
        connections.close_all()  # this one may be days old
        without_waiting(queue_cut_off)  # those that did not end by themselves; where that fails, they count as cut off
        self._say("The portal has stopped.")


def _refuse_second() -> None:
    """Raises AlreadyRunning where a portal on another host uses the database: each would take over the other's models.
    To be called before any table is changed."""
    if Node._meta.db_table in connection.introspection.table_names() and (name := node_at_work()) is not None:
        raise AlreadyRunning(
            f"A portal works with this database already, on {name}. Stop that one first, or look at DATABASE_URL."
        )


def _web(listener: socket.socket) -> list[Child]:
    """The web processes, which all accept on this socket."""
    count = settings.PORTAL_WEB_WORKERS
    command = [*_MANAGE, "run_web", str(listener.fileno()), "--grace", str(int(WEB_GRACE_S) - 5)]
    return [
        Child(
            _WEB if count == 1 else f"{_WEB} {number}",
            command,
            {},
            WEB_GRACE_S,
            clean_up=_remove_part_files,
            descriptors=[listener.fileno()],
        )
        for number in range(1, count + 1)
    ]


def _clusters() -> list[Child]:
    names = {"jobs": settings.JOBS_CLUSTER}
    if settings.PORTAL_SLOTS:
        names["models"] = settings.MODELS_CLUSTER
    return [
        Child(f"{kind} cluster", [*_MANAGE, "run_cluster", kind], {"Q_CLUSTER_NAME": name}, CLUSTER_GRACE_S)
        for kind, name in names.items()
    ]


@contextlib.contextmanager
def _hold_data_directory() -> Iterator[None]:
    """An exclusive lock on the data directory. Raises AlreadyRunning before anything is changed."""
    files.check_owner()
    settings.PORTAL_DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    path: Path = settings.PORTAL_DATA_DIR / "serve.lock"
    try:
        file = path.open("a+")
    except OSError as error:
        raise datadir.cannot_be_used(path, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"already running, pid {_holder(file)}") from None
        except OSError as error:  # a network file system without locks
            raise datadir.cannot_be_used(path, error) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "unknown"


@contextlib.contextmanager
def _hold_port() -> Iterator[socket.socket]:
    """A bound socket, on which the web processes will listen. Raises AlreadyRunning where the port is taken or the
    address cannot be used, before anything is changed."""
    family = socket.AF_INET6 if ":" in settings.PORTAL_HOST else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.PORTAL_HOST, settings.PORTAL_PORT))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                said = f"port {settings.PORTAL_PORT} is taken: {error.strerror}. Set PORTAL_PORT."
            else:
                said = f"There is no address {settings.PORTAL_HOST} on this machine: {error.strerror}. Set PORTAL_HOST."
            raise AlreadyRunning(said) from None
        # Else another portal could bind it too until the web listens, which sets this again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        yield listener


@contextlib.contextmanager
def _socket_folder() -> Iterator[None]:
    """It may be in the system's temp directory, where nothing else would remove it; but systemd removes there what was
    not used for ten days, unless it is locked (tmpfiles.d(5))."""
    datadir.make_private(settings.PORTAL_SOCKETS_DIR)
    folder = os.open(settings.PORTAL_SOCKETS_DIR, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        yield
    finally:
        os.close(folder)
        with contextlib.suppress(OSError):  # where it is not empty it stays
            settings.PORTAL_SOCKETS_DIR.rmdir()


def _compile_for_runners() -> None:
    """Write the bytecode of `inference`. The sandbox, where it is imported, forbids writing, so that every load would
    compile it again (80 ms). Takes 0.3 s, once; a read-only tree stays as it is."""
    compileall.compile_dir(settings.BASE_DIR / "inference", quiet=2)


def _reach_redis() -> None:
    try:
        get_broker(settings.JOBS_CLUSTER).ping()
    except Exception as error:  # whatever its client raises
        raise NoBroker(f"Redis does not answer: {str(error).rstrip('.')}. Look at REDIS_URL.") from None


def _make_database_private() -> None:
    """The database holds hashes of passwords and keys, and other users may be able to enter the data directory."""
    for path in settings.PORTAL_DATA_DIR.glob("portal.sqlite3*"):
        path.chmod(0o600)


def _remove_sockets_and_part_files() -> None:
    """Remove sockets and part-files of an earlier run, which has ended: we hold the lock."""
    for path in _part_files("*"):
        if not _is_under_way(path):
            path.unlink(missing_ok=True)
    for path in settings.PORTAL_SOCKETS_DIR.iterdir():
        if path.suffix in {".sock", ".ctl"}:
            path.unlink(missing_ok=True)


def _remove_part_files(pid: int) -> None:
    """Remove the unfinished uploads of a process that ended."""
    for path in _part_files(f"{pid}-*"):
        path.unlink(missing_ok=True)


def _part_files(names: str) -> list[Path]:
    return list(settings.PORTAL_UPLOADS_DIR.glob(f"{names}.part"))


def _is_under_way(part_file: Path) -> bool:
    """Whether another live process writes this file: `manage.py import_model` takes no lock."""
    pid = part_file.name.partition("-")[0]
    identity = identify(int(pid)) if pid.isdecimal() else None
    return identity is not None and identity.pid != os.getpid() and is_alive(identity)


def _connect_host() -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.PORTAL_HOST, settings.PORTAL_HOST)
