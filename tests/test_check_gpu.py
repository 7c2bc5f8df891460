"""`check_gpu` says "proved" only where memory came back and the other model kept answering."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from inference.gpu_check import NO_GPU, NOT_PROVED, PROVED, check_gpu
from inference.gpu_check.sample_models import SampleModels
from inference.host.devices import Device, Nvml, list_devices
from tests.running_portal import ROOT

MB = 10**6
CONTEXT = 400 * MB
CPU = Device(id="cpu", kind="cpu", name="CPU", memory_bytes=8 * 10**9, free_bytes=4 * 10**9)


class Accelerator:
    """A driver library (as `pynvml`) and the one GPU behind it. `is_listing`: whether it tells memory by process."""

    class NVMLError(Exception):
        pass

    def __init__(self, is_listing: bool = True, is_telling: bool = True) -> None:
        self.is_listing = is_listing
        self.is_telling = is_telling
        self.others = 700 * MB
        self.by_pid: dict[int, int] = {}

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        total, used = 16 * 10**9, self.others + sum(self.by_pid.values())
        if not self.is_telling and self.by_pid:
            raise self.NVMLError("not supported")
        return SimpleNamespace(total=total, used=used, free=total - used)

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "Accelerator"

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return "GPU-1"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        listed = self.by_pid if self.is_listing else {}
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in listed.items()]


class Process:
    """A model in a process that takes device memory of the accelerator and may leave some of it behind."""

    def __init__(self, gpu: Accelerator, pid: int, device: str, left_behind: float) -> None:
        self.pid, self.device = pid, device
        self.answer = True
        self.ends: list[Process] = []
        self._gpu, self._left_behind = gpu, left_behind
        if device.startswith("gpu"):
            gpu.by_pid[pid] = CONTEXT

    def ask(self) -> bool:
        if self.pid not in self._gpu.by_pid:
            raise ConnectionError("nobody answers")
        return self.answer

    def unload(self) -> None:
        for process in (self, *self.ends):
            used = process._gpu.by_pid.pop(process.pid, 0)
            self._gpu.others += int(used * self._left_behind)


class Machine:
    """Starts processes; what is set on it decides how they behave."""

    def __init__(self, gpu: Accelerator, *, device: str = "gpu:0", left_behind: float = 0.0) -> None:
        self.gpu, self.device, self.left_behind = gpu, device, left_behind
        self.started: list[Process] = []
        self.is_second_ended_by_first = False
        self.is_second_wrong_after_load = False

    def start(self, name: str, device: Device) -> Process:
        process = Process(self.gpu, 100 + len(self.started), self.device, self.left_behind)
        self.started.append(process)
        if len(self.started) == 2 and self.is_second_ended_by_first:
            self.started[0].ends.append(process)
        if len(self.started) == 3 and self.is_second_wrong_after_load:
            self.started[1].answer = False
        return process

    def check(self) -> tuple[int, str]:
        lines: list[str] = []
        nvml = Nvml(self.gpu)
        code = check_gpu(nvml, list_devices(nvml), self.start, lines.append, settle_limit_s=0.2, go_on_asking_s=0.2)
        return code, "\n".join(lines)


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_memory_that_comes_back_beside_a_model_that_answers_is_the_proof() -> None:
    machine = Machine(Accelerator())

    code, said = machine.check()

    assert code == PROVED
    assert "400 MB came back, 100 %" in said.replace("100%", "100 %")
    assert "estimated" not in said
    assert said.count("Used of gpu:0") == 4
    assert len(machine.started) == 3, "the first one is loaded again"
    assert machine.gpu.by_pid == {}, "nothing is left loaded"


def test_where_the_driver_lists_no_process_the_difference_counts_and_is_called_estimated() -> None:
    code, said = Machine(Accelerator(is_listing=False)).check()

    assert code == PROVED
    assert "400 MB of device memory (estimated)" in said


def test_without_the_drivers_library_there_is_no_gpu_to_check() -> None:
    lines: list[str] = []

    code = check_gpu(None, [CPU], Machine(Accelerator()).start, lines.append)

    assert code == NO_GPU
    assert "There is no GPU here" in lines[0]


@pytest.mark.parametrize("is_listing", [True, False])
@pytest.mark.parametrize(("left_behind", "expected"), [(0.05, PROVED), (0.15, NOT_PROVED), (1.0, NOT_PROVED)])
def test_at_least_nine_tenths_of_the_memory_must_come_back(is_listing: bool, left_behind: float, expected: int) -> None:
    code, said = Machine(Accelerator(is_listing=is_listing), left_behind=left_behind).check()

    assert code == expected
    assert ("of 400 MB came back; 90% were to" in said) is (expected == NOT_PROVED)


def test_a_second_model_that_dies_with_the_first_proves_nothing() -> None:
    machine = Machine(Accelerator())
    machine.is_second_ended_by_first = True

    code, said = machine.check()

    assert code == NOT_PROVED
    assert "The second model failed" in said


def test_a_second_model_that_answers_wrongly_proves_nothing() -> None:
    machine = Machine(Accelerator())
    machine.is_second_wrong_after_load = True

    code, said = machine.check()

    assert code == NOT_PROVED
    assert "wrong answer" in said


def test_memory_that_the_second_model_takes_meanwhile_is_not_held_against_the_first() -> None:
    class Grown(Machine):
        def start(self, name: str, device: Device) -> Process:
            process = super().start(name, device)
            if len(self.started) == 1:
                unload = process.unload
                process.unload = lambda: (unload(), self.gpu.by_pid.update({101: 2 * CONTEXT}))[0]  # type: ignore[method-assign]
            return process

    code, said = Grown(Accelerator()).check()

    assert code == PROVED, said


def test_an_engine_that_stays_on_the_cpu_is_said() -> None:
    code, said = Machine(Accelerator(), device="cpu").check()

    assert code == NOT_PROVED
    assert "requirements-gpu.txt" in said


def test_a_driver_that_does_not_tell_memory_proves_nothing() -> None:
    code, said = Machine(Accelerator(is_listing=False, is_telling=False)).check()

    assert code == NOT_PROVED
    assert "does not tell" in said


def test_the_command_exits_with_two_where_there_is_no_gpu(tmp_path: Path) -> None:
    if len(list_devices(None)) > 1 or Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")

    ended = subprocess.run(
        [sys.executable, ROOT / "manage.py", "check_gpu"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PORTAL_DATA_DIR": str(tmp_path)},
        check=False,
    )

    assert ended.returncode == NO_GPU, ended.stderr
    assert ended.stdout.startswith("There is no GPU here")


def test_a_sample_model_is_held_asked_and_ended_in_processes_of_its_own() -> None:
    with SampleModels() as models:
        model = models.start("first", CPU)
        owner = psutil.Process(model.pid).parent()

        assert model.device == "cpu"
        assert all(model.ask() for _ in range(3))

        model.unload()

        assert not psutil.pid_exists(model.pid)
        assert owner is None or not owner.is_running()
