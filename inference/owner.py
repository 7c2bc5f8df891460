"""One worker's watch over its runner: starts it, sees it ready, restarts it, kills it when it hangs, ends it.

Knows no ORM: a Reporter is told what is seen and asked what is wanted. One `selectors` loop over four descriptors: the
control socket (somebody changed the wish: look), the runner's status socket, its pidfd, and the pipe of the cluster
whose end says "stop". Measured: nudge to stopped in 11–15 ms, 48 ms with TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from inference.output import OutputRing
from inference.processes import ProcessIdentity, identify, memory_bytes, scrubbed_environment
from inference.runner.config import RunnerConfig
from inference.workspace import Workspace

logger = logging.getLogger("owner")

PROJECT_DIRECTORY = Path(__file__).resolve().parent.parent
POLL_S = 1.0
MEMORY_EVERY_S = 5.0
LOAD_LIMIT_S = 300.0
SILENCE_LIMIT_S = 30.0
STOP_GRACE_S = 2.0
STATUS_LINE_BYTES = 2**20
BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
MOST_FAILED_STARTS = 5
FAILED_STARTS_WITHIN_S = 600.0
MOST_CRASHES = 3
CRASHES_WITHIN_S = 60.0
STEADY_S = 30.0


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

    @property
    def control_path(self) -> Path:
        return self.sockets / f"{self.name}.ctl"


@dataclass(frozen=True, slots=True)
class Ready:
    """What a runner said of itself when it was ready, and what its owner measured."""

    runner: ProcessIdentity
    socket: Path
    device: str
    engine: str
    precision: str
    sandbox: str
    load_seconds: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a loaded model fares. Counters are of this process; times in seconds, p95 in milliseconds."""

    requests: int = 0
    errors: int = 0
    queue: int = 0
    in_flight: int = 0
    p95_ms: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an unload gave back."""

    pids: tuple[int, ...] = ()
    seconds: float = 0.0
    memory_freed_bytes: int = 0
    drained_requests: int = 0
    failed_requests: int = 0


class Reporter(Protocol):
    """The registry's side. A method that answers bool says whether the instance is still this owner's."""

    def is_wanted(self) -> bool: ...
    def loading(self, runner: ProcessIdentity, attempt: int) -> bool: ...
    def ready(self, facts: Ready) -> bool: ...
    def alive(self, vitals: Vitals) -> None: ...
    def restarting(self, reason: str) -> bool: ...
    def failed(self, reason: str) -> None: ...
    def stopped(self, receipt: Receipt) -> None: ...
    def interrupted(self) -> None: ...


class End(Enum):
    """Why the watch over one runner ended."""

    UNLOADED = "unloaded"
    CLUSTER_STOPS = "cluster stops"
    NOT_OURS = "not ours"
    UNUSABLE = "unusable"
    FAILED_TO_START = "failed to start"
    CRASHED = "crashed"
    KILLED = "killed from outside"


@dataclass(slots=True)
class _Runner:
    """One started process and what is known of it."""

    process: subprocess.Popen[bytes]
    identity: ProcessIdentity
    pidfd: int
    status: socket.socket
    socket_path: Path
    started_at: float
    ready_at: float | None = None
    heard_at: float = 0.0
    measured_at: float = 0.0
    vitals: Vitals = Vitals()
    unusable: str = ""
    drained: tuple[int, int] | None = None
    partial: bytes = b""
    why_killed: str = ""


class Owner:
    """Keeps one instance loaded until it is unloaded, has failed for good, or the cluster stops."""

    def __init__(
        self,
        assignment: Assignment,
        reporter: Reporter,
        *,
        stop_descriptor: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._assignment = assignment
        self._reporter = reporter
        self._stop_descriptor = stop_descriptor
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._output = OutputRing(assignment.log_path)
        self._runner: _Runner | None = None
        self._control: socket.socket | None = None
        self._cluster_stops = False
        self._asked_at = 0.0
        self._wanted = True
        self._failed_starts: deque[float] = deque()
        self._crashes: deque[float] = deque()
        self._quick_deaths = 0

    def run(self) -> None:
        """Blocks for as long as the model is loaded. Leaves no process, socket or folder behind."""
        try:
            with self._open_control():
                self._keep_loaded()
        finally:
            self._kill_runner()
            self._assignment.workspace.remove()
            self._output.write(now=True)
            self._selector.close()

    # ---- the life of an instance

    def _keep_loaded(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            self._start_runner()
            assert self._runner is not None
            if not self._reporter.loading(self._runner.identity, attempt):
                if self._reporter.is_wanted():
                    return
                self._unload()
                return
            end = self._watch()
            if end is End.UNLOADED:
                self._unload()
                return
            if end is End.NOT_OURS:
                return
            if end is End.CLUSTER_STOPS:
                self._end_runner(STOP_GRACE_S)
                self._reporter.interrupted()
                return
            reason = self._why_ended(end)
            self._close_runner()
            delay_s = self._delay_before_restart(end)
            if delay_s is None:
                self._reporter.failed(self._final_reason(end, reason))
                return
            if not self._reporter.restarting(self._announce(reason, delay_s)):
                if not self._reporter.is_wanted():
                    self._reporter.stopped(Receipt())
                return
            if (stopped := self._wait(delay_s)) is not None:
                if stopped is End.UNLOADED:
                    self._reporter.stopped(Receipt())
                else:
                    self._reporter.interrupted()
                return

    def _watch(self) -> End:
        """Until the runner ends, or is no longer wanted."""
        runner = self._require_runner()
        while True:
            self._turn(POLL_S)
            if self._cluster_stops:
                return End.CLUSTER_STOPS
            if not self._is_still_wanted():
                return End.UNLOADED
            if runner.process.poll() is not None:
                self._drain_descriptors()
                return self._kind_of_end(runner)
            if problem := self._overdue(runner):
                runner.why_killed = problem
                self._kill_runner()
                return End.FAILED_TO_START if runner.ready_at is None else End.CRASHED

    def _kind_of_end(self, runner: _Runner) -> End:
        if runner.unusable:
            return End.UNUSABLE
        if runner.ready_at is None:
            return End.FAILED_TO_START
        return End.KILLED if runner.process.returncode == -signal.SIGKILL else End.CRASHED

    def _overdue(self, runner: _Runner) -> str:
        """Why the runner has to be killed, or nothing."""
        now = self._clock()
        limit_s = self._assignment.config.predict_timeout_s
        if runner.ready_at is None:
            return f"It was not ready after {LOAD_LIMIT_S:.0f} s." if now - runner.started_at > LOAD_LIMIT_S else ""
        if runner.unusable:
            return runner.unusable
        if now - runner.heard_at > max(SILENCE_LIMIT_S, limit_s):
            return f"Process {runner.identity.pid} stopped answering for {now - runner.heard_at:.0f} s."
        return ""

    def _wait(self, seconds: float) -> End | None:
        """Wait before the next try; returns early when it is no longer wanted or the cluster stops."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            self._turn(min(left, POLL_S))
            if self._cluster_stops:
                return End.CLUSTER_STOPS
            if not self._is_still_wanted():
                return End.UNLOADED
        return None

    def _is_still_wanted(self) -> bool:
        if self._clock() - self._asked_at >= POLL_S:
            self._asked_at = self._clock()
            self._wanted = self._reporter.is_wanted()
        return self._wanted

    # ---- what follows an end

    def _delay_before_restart(self, end: End) -> float | None:
        """Seconds before the next start, None where there is none.

        Failures before ready: 1, 2, 4 … 60 s, at most 5 in 10 minutes. Crashes with the model ready: at most 3 in a
        minute. A kill from outside is never counted; the back-off starts anew after 30 s ready.
        """
        now = self._clock()
        if end is End.UNUSABLE:
            return None
        if end is End.FAILED_TO_START:
            _remember(self._failed_starts, now, FAILED_STARTS_WITHIN_S)
            count = len(self._failed_starts)
            return None if count >= MOST_FAILED_STARTS else BACK_OFF_S[min(count, len(BACK_OFF_S)) - 1]
        if end is End.CRASHED:
            _remember(self._crashes, now, CRASHES_WITHIN_S)
            if len(self._crashes) >= MOST_CRASHES:
                return None
        delay_s = 0.0 if self._quick_deaths == 0 else BACK_OFF_S[min(self._quick_deaths, len(BACK_OFF_S)) - 1]
        self._quick_deaths += 1
        return delay_s

    def _why_ended(self, end: End) -> str:
        runner = self._require_runner()
        pid, code = runner.identity.pid, runner.process.returncode
        if runner.unusable:
            return runner.unusable
        if runner.why_killed:
            return runner.why_killed
        if end is End.KILLED:
            return f"Process {pid} was killed from outside (signal 9)."
        if code is not None and code < 0:
            return f"Process {pid} was ended by signal {-code}."
        return f"Process {pid} ended by itself with code {code}."

    def _announce(self, reason: str, delay_s: float) -> str:
        tries = len(self._failed_starts)
        when = "It is started again now." if delay_s == 0 else f"Next try in {delay_s:.0f} s."
        return f"{reason} {when}" if not tries else f"{reason} {when[:-1]}, try {tries + 1} of {MOST_FAILED_STARTS}."

    def _final_reason(self, end: End, reason: str) -> str:
        if end is End.UNUSABLE:
            return reason
        if end is End.CRASHED:
            return f"{reason} It ended {MOST_CRASHES} times within a minute and is held off. Load it to try again."
        last = " / ".join(line.split(" ", 2)[-1] for line in self._output.last(3))
        return f"{reason} It could not be started {MOST_FAILED_STARTS} times. Its last output: {last or 'none'}"

    # ---- the end of a runner

    def _unload(self) -> None:
        """Let the runner finish what it has, end it, report what came back."""
        runner = self._require_runner()
        began = self._clock()
        freed = memory_bytes(runner.identity.pid) or 0
        grace_s = self._assignment.grace_s if runner.ready_at is not None else 0.0
        self._end_runner(grace_s)
        drained, failed = runner.drained or (0, runner.vitals.in_flight)
        self._reporter.stopped(Receipt((runner.identity.pid,), round(self._clock() - began, 3), freed, drained, failed))

    def _end_runner(self, grace_s: float) -> None:
        """The ladder: ask, wait, SIGTERM, wait, SIGKILL."""
        runner = self._require_runner()
        if grace_s > 0:
            with contextlib.suppress(OSError):
                runner.status.sendall(json.dumps({"do": "drain", "grace_s": grace_s}).encode() + b"\n")
            self._wait_for_exit(grace_s + 1)
        if runner.process.poll() is None and grace_s > 0:
            logger.info("%s: asking process %d with SIGTERM", self._assignment.name, runner.identity.pid)
            runner.process.terminate()
            self._wait_for_exit(1)
        self._kill_runner()

    def _wait_for_exit(self, seconds: float) -> None:
        runner = self._require_runner()
        until = self._clock() + seconds
        while runner.process.poll() is None and (left := until - self._clock()) > 0:
            self._turn(left)

    def _kill_runner(self) -> None:
        """End the process and its group for certain, and forget its descriptors."""
        if (runner := self._runner) is None:
            return
        if runner.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(runner.process.pid, signal.SIGKILL)
            runner.process.wait()
        self._drain_descriptors()
        self._close_runner()

    def _close_runner(self) -> None:
        if (runner := self._runner) is None or runner.pidfd < 0:
            return
        assert runner.process.stdout is not None
        for descriptor in (runner.pidfd, runner.status, runner.process.stdout):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
        os.close(runner.pidfd)
        runner.pidfd = -1
        runner.status.close()
        runner.process.stdout.close()
        runner.socket_path.unlink(missing_ok=True)
        self._output.write(now=True)

    # ---- the start of a runner

    def _start_runner(self) -> None:
        """A fresh process: exec, environment scrubbed, own process group, dies with this one.

        Called from the main thread only: the parent-death signal follows the thread that forked.
        """
        assignment = self._assignment
        path = assignment.workspace.prepare(assignment.source, assignment.file_name)
        started_at = self._clock()
        socket_path = assignment.sockets / f"{assignment.name}-{os.getpid()}-{int(started_at * 1000) % 10**7}.sock"
        config = replace(assignment.config, model_path=str(path), owner_pid=os.getpid())
        ours, theirs = socket.socketpair()
        with theirs, _listen(socket_path) as listener:
            process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-m", "inference.runner",
                 "--listen", str(listener.fileno()), "--status", str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(), theirs.fileno()),
                process_group=0,
                cwd=assignment.workspace.tmp_directory,
                env=self._environment(),
                umask=0o077,
            )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(config.encode())
            process.stdin.close()
        ours.setblocking(False)
        os.set_blocking(process.stdout.fileno(), False)
        pidfd = os.pidfd_open(process.pid)
        identity = identify(process.pid) or ProcessIdentity(process.pid, 0, "")
        self._runner = _Runner(process, identity, pidfd, ours, socket_path, started_at)
        self._selector.register(pidfd, selectors.EVENT_READ, lambda: None)
        self._selector.register(ours, selectors.EVENT_READ, self._read_status)
        self._selector.register(process.stdout, selectors.EVENT_READ, self._read_output)

    def _environment(self) -> dict[str, str]:
        tmp = str(self._assignment.workspace.tmp_directory)
        extra = {"PYTHONPATH": str(PROJECT_DIRECTORY), "HOME": tmp, "TMPDIR": tmp, "PYTHONUNBUFFERED": "1"}
        return scrubbed_environment({**extra, **self._assignment.environment})

    # ---- the loop

    @contextlib.contextmanager
    def _open_control(self) -> Iterator[None]:
        """Bind the datagram socket that is nudged when a wish has changed."""
        path = self._assignment.control_path
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as control:
            control.bind(str(path))
            control.setblocking(False)
            self._control = control
            self._selector.register(control, selectors.EVENT_READ, self._read_control)
            if self._stop_descriptor is not None:
                self._selector.register(self._stop_descriptor, selectors.EVENT_READ, self._read_stop)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def _turn(self, timeout_s: float) -> None:
        """Wait for something to happen, at most `timeout_s`, and take it in."""
        for key, _ in self._selector.select(min(timeout_s, POLL_S)):
            key.data()
        self._measure()
        self._output.write()

    def _read_control(self) -> None:
        assert self._control is not None
        with contextlib.suppress(BlockingIOError):
            while self._control.recv(16):
                pass
        self._asked_at = 0.0  # look at once

    def _read_stop(self) -> None:
        """The write end of this pipe is held by the cluster's main process alone: its end is our sign to stop."""
        self._cluster_stops = True
        if self._stop_descriptor is not None:
            self._selector.unregister(self._stop_descriptor)

    def _read_output(self) -> None:
        runner = self._require_runner()
        assert runner.process.stdout is not None
        with contextlib.suppress(BlockingIOError, ValueError):
            if data := os.read(runner.process.stdout.fileno(), 65536):
                self._output.feed(data)
            else:
                self._selector.unregister(runner.process.stdout)

    def _read_status(self) -> None:
        runner = self._require_runner()
        try:
            data = runner.status.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(runner.status)
            return
        *lines, runner.partial = (runner.partial + data).split(b"\n")
        if len(runner.partial) > STATUS_LINE_BYTES:
            self._distrust(runner)
            return
        for line in lines:
            try:
                self._hear(runner, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                self._distrust(runner)
                return

    def _distrust(self, runner: _Runner) -> None:
        runner.unusable = f"Process {runner.identity.pid} said something that makes no sense and was ended."
        runner.ready_at = runner.ready_at or self._clock()

    def _hear(self, runner: _Runner, said: Mapping[str, Any]) -> None:
        """Take in one report. What a runner says is untrusted: values are converted, unknown events ignored."""
        runner.heard_at = self._clock()
        event = said["event"]
        if event == "failed":
            runner.unusable = str(said["reason"])[:1000]
        elif event == "ready":
            runner.ready_at = self._clock()
            self._quick_deaths = self._quick_deaths if self._crashes else 0
            facts = Ready(
                runner=runner.identity,
                socket=runner.socket_path,
                device=str(said["device"])[:20],
                engine=str(said["engine"])[:20],
                precision=str(said["precision"])[:8],
                sandbox=str(said["sandbox"])[:8],
                load_seconds=round(runner.ready_at - runner.started_at, 3),
                memory_bytes=memory_bytes(runner.identity.pid),
            )
            runner.measured_at = self._clock()
            runner.vitals = replace(runner.vitals, memory_bytes=facts.memory_bytes)
            self._asked_at = 0.0
            self._reporter.ready(facts)
        elif event == "alive":
            self._hear_alive(runner, said)
        elif event == "drained":
            runner.drained = (int(said["drained"]), int(said["failed"]))

    def _hear_alive(self, runner: _Runner, said: Mapping[str, Any]) -> None:
        p95 = said.get("p95_ms")
        runner.vitals = replace(
            runner.vitals,
            requests=max(0, int(said["requests"])),
            errors=max(0, int(said["errors"])),
            queue=max(0, int(said["queue"])),
            in_flight=max(0, int(said["in_flight"])),
            p95_ms=None if p95 is None else float(p95),
        )
        self._reporter.alive(runner.vitals)
        if runner.ready_at is not None and self._clock() - runner.ready_at > STEADY_S:
            self._quick_deaths = 0
        limit_s = self._assignment.config.predict_timeout_s
        if float(said["running_s"]) > limit_s:
            runner.why_killed = f"Process {runner.identity.pid} did not finish a prediction within {limit_s:g} s."
            with contextlib.suppress(ProcessLookupError):
                os.killpg(runner.process.pid, signal.SIGKILL)

    def _measure(self) -> None:
        runner = self._runner
        if runner is None or runner.ready_at is None or runner.pidfd < 0:
            return
        if self._clock() - runner.measured_at >= MEMORY_EVERY_S:
            runner.measured_at = self._clock()
            runner.vitals = replace(runner.vitals, memory_bytes=memory_bytes(runner.identity.pid))

    def _drain_descriptors(self) -> None:
        """Read what an ended runner still left in its pipes."""
        runner = self._runner
        if runner is None or runner.pidfd < 0:
            return
        for _ in range(64):
            events = [key for key, _ in self._selector.select(0) if key.data in (self._read_status, self._read_output)]
            if not events:
                return
            for key in events:
                key.data()

    def _require_runner(self) -> _Runner:
        assert self._runner is not None
        return self._runner


def nudge(control_path: Path) -> None:
    """Tell an owner to look at its wish now. Where nobody listens, its own poll or reconcile finds it later."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"look", str(control_path))


def _remember(times: deque[float], now: float, within_s: float) -> None:
    times.append(now)
    while times and now - times[0] > within_s:
        times.popleft()


@contextlib.contextmanager
def _listen(path: Path) -> Iterator[socket.socket]:
    """A listening socket that only this user can reach; our own copy is closed once the runner has it."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(512)
        yield listener
