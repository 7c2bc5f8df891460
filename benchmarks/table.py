"""The table at the end, and its place in the README."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.row import Row
from inference.devices import list_devices, load_nvml

BEGIN, END = "<!-- benchmarks: written by `python -m benchmarks --write-readme` -->", "<!-- end of benchmarks -->"


def machine(load_before: float) -> str:
    """Cores, CPU, memory, GPU, date, and how busy the machine was (processes that wanted a core, one minute's mean)."""
    cpu, *gpus = list_devices(load_nvml())
    cores = len(os.sched_getaffinity(0))
    memory_gib = psutil.virtual_memory().total / 2**30
    on_gpu = ", ".join(gpu.name for gpu in gpus) or "no GPU"
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return (
        f"{cores} cores of {cpu.name}, {memory_gib:.0f} GiB, {on_gpu}, Python {platform.python_version()}, {today}; "
        f"load {load_before:.1f} before the start, {os.getloadavg()[0]:.1f} at the end."
    )


def as_markdown(rows: Sequence[Row]) -> str:
    lines = ["| what | measured | aim | failures |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.what} | {row.measured} | {row.aim} | {row.failures} |" for row in rows]
    return "\n".join(lines)


def write_readme(path: Path, table: str) -> None:
    """Put the table between the markers. Raises ValueError where the README has none."""
    text = path.read_text("utf-8")
    changed, count = re.subn(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{table}\n{END}",
        text,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{path.name} has {count} places for the table; it needs one")
    path.write_text(changed, "utf-8")
