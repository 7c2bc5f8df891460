"""Devices are found, chosen and measured, whatever the driver refuses to say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from inference.host.devices import (
    Device,
    DeviceMemory,
    Nvml,
    choose_device,
    device_for,
    device_memory,
    list_devices,
    load_nvml,
    visible_devices_environment,
)

GIB = 2**30
RUNNER_PID = 4242


class DriverLibrary:
    """Answers as `pynvml` does for two GPUs; questions named in `refused` raise its error."""

    class NVMLError(Exception):
        pass

    def __init__(self, refused: tuple[str, ...] = (), running: list[SimpleNamespace] | None = None) -> None:
        self.used = [2 * GIB, 1 * GIB]
        self.running = running or []
        self.refused = refused

    def _answer(self, name: str) -> None:
        if name in self.refused:
            raise self.NVMLError(name)

    def nvmlInit(self) -> None:
        self._answer("nvmlInit")

    def nvmlDeviceGetCount(self) -> int:
        self._answer("nvmlDeviceGetCount")
        return len(self.used)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        self._answer("nvmlDeviceGetHandleByIndex")
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        self._answer("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=8 * GIB, used=self.used[handle], free=8 * GIB - self.used[handle])

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        self._answer("nvmlDeviceGetName")
        return b"Accelerator"  # bytes, as older versions do

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        self._answer("nvmlDeviceGetUUID")
        return f"GPU-{handle}aaa"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        self._answer("nvmlDeviceGetComputeRunningProcesses")
        return self.running if handle == 0 else []


def entry(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def gpu(library: DriverLibrary | None = None, index: int = 0) -> Device:
    return Nvml(library or DriverLibrary()).gpus()[index]


def ids(library: DriverLibrary) -> list[str]:
    return [device.id for device in list_devices(Nvml(library))]


def test_without_a_driver_there_is_the_cpu_with_the_memory_of_the_host() -> None:
    (cpu,) = list_devices(None)

    assert (cpu.id, cpu.kind, cpu.uuid) == ("cpu", "cpu", None)
    assert 0 < cpu.free_bytes <= cpu.memory_bytes
    assert cpu.name


def test_gpus_are_listed_after_the_cpu() -> None:
    first, second, third = list_devices(Nvml(DriverLibrary()))

    assert first.id == "cpu"
    assert second == Device("gpu:0", "gpu", "Accelerator", 8 * GIB, 6 * GIB, "GPU-0aaa")
    assert third.id == "gpu:1"


@pytest.mark.parametrize("question", ["nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetMemoryInfo"])
def test_a_driver_that_refuses_leaves_the_cpu(question: str) -> None:
    assert ids(DriverLibrary(refused=(question,))) == ["cpu"]


def test_a_gpu_without_a_uuid_is_named_by_its_number() -> None:
    device = gpu(DriverLibrary(refused=("nvmlDeviceGetUUID", "nvmlDeviceGetName")), index=1)

    assert device.uuid is None
    assert visible_devices_environment(device)["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("0,1", ["cpu", "gpu:0", "gpu:1"]),
        ("1", ["cpu", "gpu:1"]),
        ("1, 0", ["cpu", "gpu:1", "gpu:0"]),
        ("GPU-1a", ["cpu", "gpu:1"]),
        ("", ["cpu"]),
        ("-1", ["cpu"]),
        ("0,-1,1", ["cpu", "gpu:0"]),
        ("7", ["cpu"]),
        ("GPU-", ["cpu"]),
    ],
)
def test_hidden_gpus_are_not_listed(monkeypatch: pytest.MonkeyPatch, setting: str, expected: list[str]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)

    assert ids(DriverLibrary()) == expected


def test_the_gpu_with_most_free_memory_is_chosen() -> None:
    assert choose_device(list_devices(Nvml(DriverLibrary()))).id == "gpu:1"


def test_the_cpu_is_chosen_where_there_is_no_gpu() -> None:
    assert choose_device(list_devices(None)).id == "cpu"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "litert"])
def test_an_engine_that_uses_no_gpu_does_not_get_one(engine: str) -> None:
    devices = list_devices(Nvml(DriverLibrary()))

    assert device_for(engine, devices).id == "cpu"
    assert device_for("tensorflow", devices).id == "gpu:1"


def test_a_runner_sees_its_gpu_only() -> None:
    environment = visible_devices_environment(gpu(index=1))
    environment.pop("LD_LIBRARY_PATH", None)

    assert environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-1aaa",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }


def test_the_libraries_of_cuda_are_found_where_pip_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cusolver", "cublas"):
        (tmp_path / "nvidia" / name / "lib").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/host")

    said = visible_devices_environment(gpu())["LD_LIBRARY_PATH"].split(":")

    assert said[-1] == "/of/the/host"
    assert {str(tmp_path / "nvidia" / name / "lib") for name in ("cusolver", "cublas")} <= set(said)
    assert "LD_LIBRARY_PATH" not in visible_devices_environment(None)


def test_a_runner_on_the_cpu_sees_no_gpu() -> None:
    (cpu,) = list_devices(None)

    assert visible_devices_environment(cpu)["CUDA_VISIBLE_DEVICES"] == "-1"


def test_memory_of_a_listed_process_is_the_sum_of_its_entries() -> None:
    library = DriverLibrary(running=[entry(RUNNER_PID, 300), entry(7, 9000), entry(RUNNER_PID, 45)])

    assert device_memory(Nvml(library), gpu(), RUNNER_PID, used_before_bytes=0) == DeviceMemory(345, False)


def test_memory_of_a_process_that_is_not_listed_is_the_growth_of_the_device() -> None:
    library = DriverLibrary(running=[entry(7, 9000)])

    assert device_memory(Nvml(library), gpu(), RUNNER_PID, used_before_bytes=GIB) == DeviceMemory(GIB, True)
    assert device_memory(Nvml(library), gpu(), RUNNER_PID, used_before_bytes=3 * GIB) == DeviceMemory(0, True)


@pytest.mark.parametrize("not_available", [None, 2**64 - 1])
def test_memory_that_the_driver_does_not_tell_is_estimated(not_available: int | None) -> None:
    library = DriverLibrary(running=[entry(RUNNER_PID, not_available)])

    assert device_memory(Nvml(library), gpu(), RUNNER_PID, used_before_bytes=GIB) == DeviceMemory(GIB, True)


def test_a_driver_without_process_lists_is_estimated() -> None:
    library = DriverLibrary(refused=("nvmlDeviceGetComputeRunningProcesses",))

    assert device_memory(Nvml(library), gpu(), RUNNER_PID, used_before_bytes=GIB) == DeviceMemory(GIB, True)


@pytest.mark.parametrize(
    "measure",
    [
        lambda device: device_memory(None, device, RUNNER_PID, 0),
        lambda device: device_memory(Nvml(DriverLibrary()), list_devices(None)[0], RUNNER_PID, 0),
        lambda device: device_memory(Nvml(DriverLibrary()), device, RUNNER_PID, None),
        lambda device: device_memory(
            Nvml(DriverLibrary(refused=("nvmlDeviceGetHandleByIndex",))), device, RUNNER_PID, 0
        ),
    ],
    ids=["no driver", "on the CPU", "nothing to compare with", "the driver refuses"],
)
def test_memory_that_nobody_knows_is_none(measure: Callable[[Device], DeviceMemory]) -> None:
    assert measure(gpu()) == DeviceMemory(None, False)


def test_used_memory_of_a_device_is_told_before_a_load() -> None:
    assert Nvml(DriverLibrary()).used_bytes(gpu()) == 2 * GIB
    assert Nvml(DriverLibrary()).used_bytes(list_devices(None)[0]) is None


def test_without_the_library_there_is_no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert load_nvml() is None


def test_without_a_driver_there_is_no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", DriverLibrary(refused=("nvmlInit",)))

    assert load_nvml() is None


def test_with_a_driver_its_gpus_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", DriverLibrary())

    nvml = load_nvml()

    assert nvml is not None
    assert len(nvml.gpus()) == 2


def test_the_installed_library_loads_or_says_none() -> None:
    nvml = load_nvml()

    assert nvml is None or isinstance(nvml.gpus(), list)
