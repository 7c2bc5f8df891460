"""One started runner process: its descriptors, its reports, how it ended. Used only by its owner."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from inference import PROJECT_DIRECTORY
from inference.host.memory import free_bytes, oom_kills
from inference.host.processes import ProcessIdentity, identify, memory_bytes, scrubbed_environment
from inference.json_object import is_integer, is_number
from inference.owner.compiled import lend_compiled
from inference.owner.reporting import Vitals
from inference.refusal import clean_text, size_words
from inference.runner.config import RunnerConfig
from inference.workspace import Workspace

STATUS_LINE_BYTES = 2**20
MOST_REQUESTS, MOST_WAITING = 2**53, 2**31 - 1
"""Limits that the registry's columns can hold, with room for sums."""
ADOPT_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an owner is to keep loaded, and where its files and sockets go."""

    name: str
    source: Path
    file_name: str
    config: RunnerConfig
    workspace: Workspace
    sockets: Path
    log_path: Path
    environment: Mapping[str, str]
    grace_s: float = 30.0
    cache: Path | None = None
    """A folder of this version only, with what its engine compiled for the next load; it outlives the runner."""

    @property
    def control_path(self) -> Path:
        return self.sockets / f"{self.name}.ctl"


class InvalidReport(Exception):
    """The runner sent a report that violates the protocol."""


@dataclass(slots=True)
class StartedRunner:
    """One process and what is known about it. Moments are on the owner's clock."""

    process: subprocess.Popen[bytes]
    identity: ProcessIdentity
    pidfd: int
    status: socket.socket
    socket_path: Path
    started_at: float
    workspace: Workspace | None = None
    ready_at: float | None = None
    last_report_at: float = 0.0
    measured_at: float = 0.0
    vitals: Vitals = field(default_factory=Vitals)
    unusable: str = ""
    why_killed: str = ""
    drained: tuple[int, int] | None = None
    partial: bytes = b""
    is_out_of_memory: bool = False
    is_late: bool = False
    """It was not ready within the limit of a load."""
    oom_kills_before: int = field(default_factory=oom_kills)
    oom_kills_seen: int = field(default_factory=oom_kills)

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def output_descriptor(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def order_drain(self, grace_s: float) -> None:
        """Ask it to refuse new requests, finish those it has, and end."""
        with contextlib.suppress(OSError):
            self.status.sendall(json.dumps({"do": "drain", "grace_s": grace_s}).encode() + b"\n")

    def read_reports(self) -> list[dict[str, Any]] | None:
        """Its reports since the last call, None once it has closed. Raises InvalidReport: a runner is untrusted."""
        try:
            data = self.status.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self.partial = (self.partial + data).split(b"\n")
        if len(self.partial) > STATUS_LINE_BYTES:
            raise InvalidReport
        try:
            reports = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            raise InvalidReport from None
        if not all(isinstance(report, dict) for report in reports):
            raise InvalidReport
        return reports

    def read_failure(self, report: Mapping[str, Any]) -> None:
        """Store why the model cannot be loaded; for lack of memory also how much it took and how much is free."""
        self.unusable = clean_text(report["reason"], 1000)
        if report.get("is_memory") is True:
            taken = size_words(memory_bytes(self.identity.pid) or self.vitals.memory_bytes or 0)
            self.unusable += (
                f" It had taken {taken} and needed more; {size_words(free_bytes())} are free on this host. "
                "Unload another model first, or load a smaller one."
            )

    def read_vitals(self, report: Mapping[str, Any]) -> Vitals:
        """Store the figures of a heartbeat. Raises InvalidReport."""
        p95 = report.get("p95_ms")
        self.vitals = replace(
            self.vitals,
            requests=_count(report["requests"], MOST_REQUESTS),
            errors=_count(report["errors"], MOST_REQUESTS),
            queue=_count(report["queue"], MOST_WAITING),
            in_flight=_count(report["in_flight"], MOST_WAITING),
            p95_ms=None if p95 is None else _milliseconds(p95),
        )
        return self.vitals

    def exceed_memory(self, limit_bytes: int) -> None:
        """Record that it took more memory than its limit."""
        self.is_out_of_memory = True
        used, limit = size_words(self.vitals.memory_bytes or 0), size_words(limit_bytes)
        if self.ready_at is not None:
            self.why_killed = f"Process {self.identity.pid} used {used}, more than its limit of {limit}."
        else:
            self.why_killed = (
                f"Loading took {used}, more than the limit of {limit}; {size_words(free_bytes())} are free on this "
                "host. Raise memory_limit_bytes in the options, or load a smaller model."
            )

    def exceed_time(self, limit_s: float) -> None:
        """Record that it was not ready in time."""
        self.is_late = True
        self.why_killed = f"The model was not ready after {limit_s:.0f} s. Load it to try again."

    def measure(self, now: float) -> None:
        """Measure its memory. `oom_kills_before` becomes the kernel's count of OOM kills at the previous measurement.

        The current count may already include this process, which can be measured until it has actually ended.
        """
        self.measured_at = now
        memory = memory_bytes(self.identity.pid)
        if memory is not None:  # None: it has just ended, and the previous figures say more
            self.vitals = replace(self.vitals, memory_bytes=memory)
            self.oom_kills_before, self.oom_kills_seen = self.oom_kills_seen, oom_kills()

    def notice_memory(self) -> None:
        """For an ended runner: record whether the kernel killed it for lack of memory."""
        is_killed = self.process.returncode == -signal.SIGKILL and not self.why_killed
        if is_killed and oom_kills() > self.oom_kills_before:
            self.is_out_of_memory = True
            self.why_killed = (
                f"Memory ran out and the kernel ended process {self.identity.pid}: it had taken "
                f"{size_words(self.vitals.memory_bytes or 0)} and needed more; {size_words(free_bytes())} are free on "
                "this host now. Unload another model first, or load a smaller one."
            )

    def why_ended(self) -> str:
        """A sentence. Only for a runner that has ended."""
        pid, code = self.identity.pid, self.process.returncode
        if self.unusable or self.why_killed:
            return self.unusable or self.why_killed
        if code == -signal.SIGKILL:
            return f"Process {pid} was killed from outside (signal 9)."
        if code < 0:
            return f"Process {pid} was ended by signal {-code}."
        return f"Process {pid} ended by itself with code {code}."

    def kill(self) -> None:
        """SIGKILL to its whole group, and reap it."""
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        """Close the owner's descriptors, remove the socket."""
        assert self.process.stdout is not None
        os.close(self.pidfd)
        self.status.close()
        self.process.stdout.close()
        self.socket_path.unlink(missing_ok=True)


def start_runner(assignment: Assignment, now: float) -> StartedRunner:
    """A new process with a scrubbed environment and its own process group, which dies with this one.

    Call it from the main thread only: the parent-death signal comes when the thread that forked ends.
    """
    path = assignment.workspace.prepare(assignment.source, assignment.file_name)
    return _start(assignment, _config_for(assignment, path), now)


def start_spare(assignment: Assignment, now: float) -> StartedRunner:
    """A process that imports the engine of the assignment in the sandbox and then waits for a model (`adopt`).

    The assignment's source is not touched. Call it from the main thread only, as `start_runner`.
    """
    assignment.workspace.prepare_empty()
    path = assignment.workspace.model_directory / assignment.file_name
    return _start(
        assignment, replace(assignment.config, model_path=str(path), is_spare=True, owner_pid=os.getpid()), now
    )


def adopt(spare: StartedRunner, assignment: Assignment, now: float) -> StartedRunner:
    """Give a warm spare its model; its folders and socket become the assignment's. Raises OSError if it is gone."""
    assert spare.workspace is not None
    assignment.workspace.take_over(spare.workspace)
    spare.socket_path = spare.socket_path.rename(_socket_path(assignment, now))
    path = assignment.workspace.put(assignment.source, assignment.file_name)
    config = _config_for(assignment, path)
    spare.status.settimeout(ADOPT_LIMIT_S)
    spare.status.sendall(config.encode() + b"\n")
    spare.status.setblocking(False)
    spare.workspace, spare.started_at = assignment.workspace, now
    return spare


def _config_for(assignment: Assignment, path: Path) -> RunnerConfig:
    """The complete configuration; fills its cache folder with what the engine compiled earlier."""
    cache_directory = ""
    if assignment.cache is not None:
        lend_compiled(assignment.cache, assignment.workspace.cache_directory)
        cache_directory = str(assignment.workspace.cache_directory)
    return replace(assignment.config, model_path=str(path), cache_directory=cache_directory, owner_pid=os.getpid())


def _start(assignment: Assignment, config: RunnerConfig, now: float) -> StartedRunner:
    socket_path = _socket_path(assignment, now)
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as undo, theirs, _listen(socket_path) as listener:
        undo.callback(socket_path.unlink, missing_ok=True)
        undo.callback(ours.close)
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-B", "-m", "inference.runner",
             "--listen", str(listener.fileno()), "--status", str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(listener.fileno(), theirs.fileno()),
            process_group=0,
            cwd=assignment.workspace.tmp_directory,
            env=_environment(assignment),
            umask=0o077,
        )  # fmt: skip
        undo.pop_all()
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(config.encode())
        process.stdin.close()
    ours.setblocking(False)
    os.set_blocking(process.stdout.fileno(), False)
    identity = identify(process.pid) or ProcessIdentity(process.pid, 0, "")
    pidfd = os.pidfd_open(process.pid)
    return StartedRunner(process, identity, pidfd, ours, socket_path, now, workspace=assignment.workspace)


def _socket_path(assignment: Assignment, now: float) -> Path:
    return assignment.sockets / f"{assignment.name}-{os.getpid()}-{int(now * 1000) % 10**7}.sock"


def _environment(assignment: Assignment) -> dict[str, str]:
    tmp = str(assignment.workspace.tmp_directory)
    extra = {"PYTHONPATH": str(PROJECT_DIRECTORY), "HOME": tmp, "TMPDIR": tmp, "PYTHONUNBUFFERED": "1"}
    return scrubbed_environment({**extra, **assignment.environment})


@contextlib.contextmanager
def _listen(path: Path) -> Iterator[socket.socket]:
    """A listening socket that only this user can reach; closed here at the end, when the runner has its own copy."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(512)
        yield listener


def _count(figure: object, most: int) -> int:
    if not is_integer(figure, 0, most):
        raise InvalidReport
    return cast(int, figure)


def _milliseconds(figure: object) -> float:
    if not is_number(figure, 0, MOST_REQUESTS):
        raise InvalidReport
    return float(cast(float, figure))
