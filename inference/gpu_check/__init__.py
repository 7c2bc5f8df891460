"""Proves on a machine with a GPU that an unloaded model's device memory comes back while another keeps answering.

Needs no database and no cluster, so it runs beside a portal and on a bare checkout. Each model is held by an Owner in a
process of its own: the parent-death signal of its runner needs a main thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from inference.host.devices import Device, DeviceMemory, Nvml, choose_device, device_memory

PROVED, NOT_PROVED, NO_GPU = 0, 1, 2
SHARE_THAT_COMES_BACK = 0.9
LONGEST_SILENCE_S = 2.0
"""The driver frees a process's memory within milliseconds; an answer that takes longer than this is an interruption."""
SETTLE_LIMIT_S = 10.0
ASKS_BEFORE_MEASURING = 5
GO_ON_ASKING_S = 1.0
_LOOK_EVERY_S = 0.05
_MB = 10**6

Say = Callable[[str], None]


class HeldModel(Protocol):
    """One model in one process. `device` is what its engine really uses."""

    pid: int
    device: str

    def ask(self) -> bool:
        """Send one request; whether the answer was right. Raises what goes wrong."""
        ...

    def unload(self) -> None:
        """Returns once the process is gone."""
        ...


class StartModel(Protocol):
    def __call__(self, name: str, device: Device) -> HeldModel: ...


class CheckFailed(Exception):
    """The proof failed; the text is a sentence for users."""


@dataclass(slots=True)
class Asked:
    """Counts of one model's answers while requests were sent without pause."""

    answers: int = 0
    failures: int = 0
    longest_silence_s: float = 0.0
    last_failure: str = ""
    is_over: threading.Event = field(default_factory=threading.Event)


def check_gpu(
    nvml: Nvml | None,
    devices: list[Device],
    start: StartModel,
    say: Say,
    *,
    settle_limit_s: float = SETTLE_LIMIT_S,
    go_on_asking_s: float = GO_ON_ASKING_S,
) -> int:
    """Run the proof and say each step. 0: proved. 1: not proved. 2: there is no GPU here.

    Memory has `settle_limit_s` to come back; the second model is asked for `go_on_asking_s` after that.
    """
    gpus = [device for device in devices if device.kind == "gpu"]
    if nvml is None or not gpus:
        say("There is no GPU here that NVML can see. Run this on a machine with an NVIDIA driver.")
        return NO_GPU
    device = choose_device(gpus)
    say(f"{device.id}: {device.name}, {_mb(device.memory_bytes)}, {_mb(device.free_bytes)} free.")
    try:
        with ExitStack() as held:
            _Proof(nvml, device, start, say, held, settle_limit_s, go_on_asking_s).run()
    except CheckFailed as failure:
        say(f"Not proved. {failure}")
        return NOT_PROVED
    say("Proved: one model was unloaded, its device memory came back, the other one kept answering.")
    return PROVED


@dataclass(slots=True)
class _Proof:
    nvml: Nvml
    device: Device
    start: StartModel
    say: Say
    held: ExitStack
    settle_limit_s: float
    go_on_asking_s: float

    def run(self) -> None:
        """Load two, ask both, unload the first while the second is asked, load it again. Raises CheckFailed."""
        first, first_bytes = self._load("first")
        second, _ = self._load("second")
        with _asked_without_pause(second) as asked:
            freed_bytes = self._unload(first, second, first_bytes)
            time.sleep(self.go_on_asking_s)
            self._load("first, again")
        self.say(
            f"The second model gave {asked.answers} answers meanwhile, {asked.failures} failures, "
            f"longest silence {asked.longest_silence_s * 1000:.0f} ms."
        )
        _judge_answers(asked)
        if freed_bytes < SHARE_THAT_COMES_BACK * first_bytes:
            raise CheckFailed(
                f"{_mb(freed_bytes)} of {_mb(first_bytes)} came back; {SHARE_THAT_COMES_BACK:.0%} were to. "
                "Run it again while nothing else uses the device."
            )

    def _load(self, name: str) -> tuple[HeldModel, int]:
        """A loaded model that has answered, and its device memory in bytes."""
        before = self._used()
        model = self.start(name, self.device)
        self.held.callback(model.unload)
        if not model.device.startswith("gpu"):
            raise CheckFailed(
                "The engine runs on the CPU although there is a GPU. Install requirements-gpu.txt into .venv."
            )
        for _ in range(ASKS_BEFORE_MEASURING):
            if not _answers_rightly(model):
                raise CheckFailed(f"The {name} model gave a wrong answer.")
        memory = device_memory(self.nvml, self.device, model.pid, before)
        if not memory.bytes:
            raise CheckFailed("The driver does not tell how much device memory the process takes.")
        self._show(f"Loaded the {name} model as process {model.pid}: {_described(memory)}.")
        return model, memory.bytes

    def _unload(self, first: HeldModel, second: HeldModel, expected_bytes: int) -> int:
        """Device memory that came back: how much less is used, plus what the second model took meanwhile."""
        used_before, second_before = self._used(), self.nvml.process_bytes(self.device, second.pid)
        began = time.monotonic()
        first.unload()
        seconds = time.monotonic() - began
        deadline = time.monotonic() + self.settle_limit_s
        while True:
            second_after = self.nvml.process_bytes(self.device, second.pid)
            grown = 0 if second_before is None or second_after is None else second_after - second_before
            freed = used_before - self._used() + grown
            if freed >= SHARE_THAT_COMES_BACK * expected_bytes or time.monotonic() > deadline:
                break
            time.sleep(_LOOK_EVERY_S)
        share = freed / expected_bytes
        self._show(f"Unloaded the first model in {seconds:.2f} s: {_mb(freed)} came back, {share:.0%} of what it had.")
        return freed

    def _used(self) -> int:
        used = self.nvml.used_bytes(self.device)
        if used is None:
            raise CheckFailed("The driver does not tell how much memory of the device is used.")
        return used

    def _show(self, step: str) -> None:
        self.say(f"{step} Used of {self.device.id}: {_mb(self._used())}.")


def _judge_answers(asked: Asked) -> None:
    if asked.failures:
        raise CheckFailed(f"The second model failed {asked.failures} times: {asked.last_failure}")
    if not asked.answers or asked.longest_silence_s > LONGEST_SILENCE_S:
        raise CheckFailed(
            f"The second model was silent for {asked.longest_silence_s:.1f} s; at most {LONGEST_SILENCE_S:.0f} s count "
            "as answering."
        )


@contextmanager
def _asked_without_pause(model: HeldModel) -> Iterator[Asked]:
    """Send requests from a thread for as long as the block lasts; the counts are complete when it has ended."""
    asked = Asked()
    thread = threading.Thread(target=_ask_until_over, args=(model, asked), name="asking", daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        asked.is_over.set()
        thread.join()


def _ask_until_over(model: HeldModel, asked: Asked) -> None:
    """The last request is sent after `is_over` was set: it must be answered as well."""
    last = time.monotonic()
    is_last = False
    while not is_last:
        is_last = asked.is_over.is_set()
        try:
            if _answers_rightly(model):
                asked.answers += 1
            else:
                asked.failures, asked.last_failure = asked.failures + 1, "It gave a wrong answer."
        except CheckFailed as failure:
            asked.failures, asked.last_failure = asked.failures + 1, str(failure)
            asked.is_over.wait(_LOOK_EVERY_S)
        now = time.monotonic()
        asked.longest_silence_s = max(asked.longest_silence_s, now - last)
        last = now


def _answers_rightly(model: HeldModel) -> bool:
    try:
        return model.ask()
    except CheckFailed:
        raise
    except Exception as error:  # whatever a request to a dead process raises
        raise CheckFailed(f"A model did not answer: {error}") from error


def _described(memory: DeviceMemory) -> str:
    return f"{_mb(memory.bytes or 0)} of device memory{' (estimated)' if memory.is_estimated else ''}"


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / _MB:,.0f} MB"
