"""The models of `check_gpu`: each an Owner in a process of its own, asked over its runner's socket."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import tempfile
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from inference import PROJECT_DIRECTORY
from inference.client import Runners
from inference.gpu_check import CheckFailed
from inference.host.devices import Device, visible_devices_environment
from inference.host.processes import ProcessIdentity, die_with_parent
from inference.owner import Owner, nudge
from inference.owner.reporting import Ready, Receipt, Vitals
from inference.owner.started_runner import Assignment
from inference.runner.config import RunnerConfig
from inference.workspace import Workspace

SAMPLES = PROJECT_DIRECTORY / "samples"
PICTURE, RIGHT_ANSWER = "seven.png", 7
START_LIMIT_S = 180.0
STOP_LIMIT_S = 40.0
ANSWER_LIMIT_S = 30.0
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class _Message:
    """What an owner sends over the pipe: `ready` with facts, `failed` with a reason, `stopped`."""

    event: str
    pid: int = 0
    device: str = ""
    socket: str = ""
    reason: str = ""


class SampleModels:
    """Starts sample models in a folder of its own; used as a context, leaves no process and no file behind."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="check-gpu-")
        self._models: list[SampleModel] = []

    def __enter__(self) -> SampleModels:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for model in self._models:
            model.unload()
        self._folder.cleanup()

    def start(self, name: str, device: Device) -> SampleModel:
        """Start a model and wait until it is ready. Raises CheckFailed where it fails. Call from the main thread."""
        ours, theirs = _SPAWN.Pipe()
        number = len(self._models) + 1
        assignment = _assignment(Path(self._folder.name), f"m{number}", device)
        process = _SPAWN.Process(target=_own, args=(assignment, theirs, os.getpid()), name=f"owner {name}")
        process.start()
        theirs.close()
        model = SampleModel(process, ours, assignment.control_path)
        self._models.append(model)
        model.wait_until_ready()
        return model


class SampleModel:
    """The sample model in one runner. `ask` may be called from one thread at a time."""

    def __init__(self, process: Any, connection: Connection, control_path: Path) -> None:
        self.pid = 0
        self.device = ""
        self._process = process
        self._connection = connection
        self._control_path = control_path
        self._socket = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runners = Runners()
        self._picture = (SAMPLES / "images" / PICTURE).read_bytes()
        self._asking = threading.Lock()

    def wait_until_ready(self) -> None:
        message = self._receive(START_LIMIT_S)
        if message is None or message.event != "ready":
            raise CheckFailed(f"A model could not be loaded. {message.reason if message else 'Its owner ended.'}")
        self.pid, self.device, self._socket = message.pid, message.device, message.socket

    def ask(self) -> bool:
        """Whether the picture of a seven is answered with a seven. Raises a PortalError where no answer comes."""
        with self._asking:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            reply = self._loop.run_until_complete(
                self._runners.ask_images([self._socket], [self._picture], timeout_s=ANSWER_LIMIT_S, is_strict=True)
            )
        (scores,) = reply.outputs.values()
        return int(scores[0].argmax()) == RIGHT_ANSWER

    def unload(self) -> None:
        """End the runner, then its owner. A second call does nothing."""
        if self._process.is_alive():
            self._tell("unload")
            nudge(self._control_path)
            self._process.join(STOP_LIMIT_S)
            if self._process.is_alive():
                self._process.kill()  # its runner dies with it
                self._process.join()
        self._connection.close()
        with self._asking:
            if self._loop is not None:
                self._close_loop(self._loop)
                self._loop = None

    def _close_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    def _tell(self, order: str) -> None:
        try:
            self._connection.send(order)
        except OSError:
            pass  # it has ended by itself

    def _receive(self, limit_s: float) -> _Message | None:
        try:
            message = self._connection.recv() if self._connection.poll(limit_s) else None
        except (EOFError, OSError):
            return None
        return message if isinstance(message, _Message) else None


class _Pipe:
    """The Reporter of an owner: tells the parent process; the model is wanted until the parent sends a word or ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def is_wanted(self) -> bool:
        return not self._connection.poll()

    def loading(self, runner: ProcessIdentity, attempt: int) -> bool:
        return True

    def ready(self, facts: Ready) -> bool:
        return self._send(_Message("ready", facts.runner.pid, facts.device, str(facts.socket)))

    def alive(self, vitals: Vitals) -> None: ...

    def restarting(self, reason: str) -> bool:
        """A model that has to be started again proves nothing: give up."""
        self._send(_Message("failed", reason=reason))
        return False

    def failed(self, reason: str) -> None:
        self._send(_Message("failed", reason=reason))

    def stopped(self, receipt: Receipt) -> None:
        self._send(_Message("stopped"))

    def interrupted(self) -> None: ...

    def _send(self, message: _Message) -> bool:
        try:
            self._connection.send(message)
            return True
        except OSError:
            return False


def _own(assignment: Assignment, connection: Connection, parent_pid: int) -> None:
    """The main of an owner's process."""
    die_with_parent(parent_pid)
    Owner(assignment, _Pipe(connection)).run()


def _assignment(folder: Path, name: str, device: Device) -> Assignment:
    facts = json.loads((SAMPLES / "digits.json").read_text("utf-8"))
    config = RunnerConfig(
        model_path="",  # the owner puts the file in the runner's own folder
        format="keras",
        engine="tensorflow",
        preprocessing=facts["preprocessing"],
    )
    return Assignment(
        name=name,
        source=SAMPLES / facts["file"],
        file_name="model.keras",
        config=config,
        workspace=Workspace(folder / name),
        sockets=folder,
        log_path=folder / f"{name}.log",
        environment=visible_devices_environment(device),
    )
