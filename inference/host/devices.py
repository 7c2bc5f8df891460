"""The devices of this node, and how much of their memory one process uses.

NVML, the driver's own library, answers without a CUDA context, so asking costs no device memory. It is optional: a
value that it does not give becomes None, and without NVML the node has a CPU only.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil

from inference.catalog import ENGINES
from inference.host.processes import NO_GPU

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Device:
    """`id` is "cpu" or "gpu:N" with nvidia-smi's number N. For the CPU the memory is the host's."""

    id: str
    kind: Literal["cpu", "gpu"]
    name: str
    memory_bytes: int
    free_bytes: int
    uuid: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """`bytes` is None if unknown. If `is_estimated`, it is the growth of the whole device's used memory."""

    bytes: int | None
    is_estimated: bool


class Nvml:
    """The few NVML queries needed here. Takes an initialised `pynvml`; a query that NVML refuses gives None."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def gpus(self) -> list[Device]:
        """All GPUs in PCI bus order, except those that do not report their memory."""
        count = self._ask(self._module.nvmlDeviceGetCount) or 0
        found = (self._gpu(index) for index in range(count))
        return [gpu for gpu in found if gpu is not None]

    def used_bytes(self, device: Device) -> int | None:
        """What all processes together use of the device now."""
        handle = self._handle(device)
        memory = self._ask(self._module.nvmlDeviceGetMemoryInfo, handle) if handle is not None else None
        return None if memory is None else int(memory.used)

    def process_bytes(self, device: Device, pid: int) -> int | None:
        """Device memory of one process; None if it is not listed (in a container) or its memory is not told."""
        handle = self._handle(device)
        running = self._ask(self._module.nvmlDeviceGetComputeRunningProcesses, handle) if handle is not None else None
        told = [
            int(process.usedGpuMemory)
            for process in running or ()
            if process.pid == pid and self._is_told(process.usedGpuMemory)
        ]
        return sum(told) if told else None

    def _gpu(self, index: int) -> Device | None:
        handle = self._ask(self._module.nvmlDeviceGetHandleByIndex, index)
        memory = self._ask(self._module.nvmlDeviceGetMemoryInfo, handle) if handle is not None else None
        if memory is None:
            return None
        name = self._ask(self._module.nvmlDeviceGetName, handle)
        uuid = self._ask(self._module.nvmlDeviceGetUUID, handle)
        return Device(
            id=f"gpu:{index}",
            kind="gpu",
            name=_text(name) or "GPU",
            memory_bytes=int(memory.total),
            free_bytes=int(memory.free),
            uuid=_text(uuid),
        )

    def _handle(self, device: Device) -> Any | None:
        if device.kind != "gpu":
            return None
        return self._ask(self._module.nvmlDeviceGetHandleByIndex, _index(device))

    def _is_told(self, used: object) -> bool:
        # Newer versions of pynvml turn the constant (all bits set) into None, older ones hand it out.
        not_available = getattr(self._module, "NVML_VALUE_NOT_AVAILABLE_ulonglong", None)
        return used is not None and used not in (2**64 - 1, getattr(not_available, "value", None))

    def _ask(self, question: Callable[..., T], *arguments: object) -> T | None:
        try:
            return question(*arguments)
        except self._module.NVMLError:
            return None


def import_nvml() -> Any | None:
    """The Python package, not initialised; importing it before a fork saves each child 20 ms."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def load_nvml() -> Nvml | None:
    """NVML, initialised for this process, or None without the Python package, the driver's library or a driver."""
    module = import_nvml()
    if module is None:
        return None
    try:
        module.nvmlInit()
    except module.NVMLError:
        return None
    return Nvml(module)


def list_devices(nvml: Nvml | None) -> list[Device]:
    """The CPU, then the GPUs named in CUDA_VISIBLE_DEVICES, in its order (all if unset). MIG instances are left out."""
    memory = psutil.virtual_memory()
    cpu = Device(id="cpu", kind="cpu", name=_cpu_name(), memory_bytes=memory.total, free_bytes=memory.available)
    gpus = nvml.gpus() if nvml is not None else []
    return [cpu, *_visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))]


def choose_device(devices: Sequence[Device]) -> Device:
    """The GPU with the most free memory (the first of equals), else the CPU. Raises ValueError on an empty list."""
    gpus = [device for device in devices if device.kind == "gpu"]
    return max(gpus or devices, key=lambda device: device.free_bytes)


def device_for(engine: str, devices: Sequence[Device]) -> Device:
    """The device for models of this engine: `choose_device` if it can use a GPU, else the CPU. Raises ValueError."""
    return choose_device(devices if ENGINES[engine].has_gpu else [device for device in devices if device.kind == "cpu"])


def visible_devices_environment(device: Device | None) -> dict[str, str]:
    """Environment variables with which an engine sees only this device and allocates its memory as needed."""
    if device is None or device.kind == "cpu":
        return dict(NO_GPU)
    return {
        "CUDA_VISIBLE_DEVICES": device.uuid or str(_index(device)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order of nvidia-smi and NVML; CUDA's own default is fastest first
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # TensorFlow takes the whole device otherwise
        **_library_path(),
    }


def _library_path() -> dict[str, str]:
    """LD_LIBRARY_PATH with the folders of the CUDA libraries of requirements-gpu.txt put in front.

    TensorFlow 2.21 finds them beside itself, except cuSOLVER (it is missing in the RUNPATH of
    libtensorflow_framework.so.2), and does not use the GPU if one of them is not found.
    """
    package = importlib.util.find_spec("nvidia")
    folders = package.submodule_search_locations if package is not None else None
    found = [str(path) for folder in folders or () for path in sorted(Path(folder).glob("*/lib"))]
    named = [*found, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_LIBRARY_PATH": ":".join(named)} if named else {}


def device_memory(nvml: Nvml | None, device: Device, pid: int, used_before_bytes: int | None) -> DeviceMemory:
    """Device memory of process `pid`.

    In a container NVML may not list the process. Then the growth of the device's used memory since `used_before_bytes`
    (`Nvml.used_bytes` before the load) is taken and marked as estimated, because other processes also change it.
    """
    if nvml is None or device.kind != "gpu":
        return DeviceMemory(bytes=None, is_estimated=False)
    own = nvml.process_bytes(device, pid)
    if own is not None:
        return DeviceMemory(bytes=own, is_estimated=False)
    used = nvml.used_bytes(device)
    if used is None or used_before_bytes is None:
        return DeviceMemory(bytes=None, is_estimated=False)
    return DeviceMemory(bytes=max(0, used - used_before_bytes), is_estimated=True)


def _visible(gpus: Sequence[Device], setting: str | None) -> list[Device]:
    """Read CUDA_VISIBLE_DEVICES as CUDA does: numbers or UUID prefixes, up to the first that names no single GPU."""
    if setting is None:
        return list(gpus)
    visible: list[Device] = []
    for entry in (part.strip() for part in setting.split(",")):
        named = [gpu for gpu in gpus if _is_named(gpu, entry)]
        if len(named) != 1:
            break
        if named[0] not in visible:
            visible.append(named[0])
    return visible


def _is_named(gpu: Device, entry: str) -> bool:
    if entry.isdecimal():
        return _index(gpu) == int(entry)
    return entry.startswith("GPU-") and gpu.uuid is not None and gpu.uuid.startswith(entry)


def _index(device: Device) -> int:
    return int(device.id.removeprefix("gpu:"))


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine() or "CPU"
