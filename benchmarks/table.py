"""The tables at the end, and their places in the README."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.row import Row
from inference.host.devices import list_devices, load_nvml

BEGIN = "<!-- benchmarks, {part}: written by `python -m benchmarks --write-readme` -->"
END = "<!-- end of benchmarks, {part} -->"


def machine(load_before: float) -> str:
    """Cores, CPU, memory, GPU, date, and the machine's load averages of one minute before and after."""
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


def write_readme(path: Path, part: str, table: str) -> None:
    """Put the table of a part between its markers. Raises ValueError where the README has none."""
    text = path.read_text("utf-8")
    begin, end = BEGIN.format(part=part), END.format(part=part)
    changed, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{table}\n{end}",
        text,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{path.name} has {count} places for the table of {part}; it needs one")
    path.write_text(changed, "utf-8")
