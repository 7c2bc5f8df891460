"""What an unload freed, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_app.models import ModelVersion
from models_app.pages.words import plural, short_seconds, size_words


@dataclass(frozen=True, slots=True)
class ReceiptWords:
    """`processes` is "process 4711 is" or "processes 4711, 4712 are"; empty where no process had to end.
    `untouched` is empty where no other model is loaded."""

    name: str
    seconds: str
    processes: str
    memory_freed: str
    device_memory_freed: str
    untouched: str
    drained_requests: int
    failed_requests: int


def receipt_words(version: ModelVersion, receipt: Mapping[str, Any], untouched: int) -> ReceiptWords:
    """From a RECEIPT; `untouched` is how many other models are loaded."""
    pids = [str(pid) for pid in receipt["pids"]]
    seconds = float(receipt["seconds"])
    on_device = receipt["device_memory_freed_bytes"]
    return ReceiptWords(
        name=str(version),
        seconds=f"{seconds:.2f} s" if seconds < 1 else short_seconds(seconds),
        processes=f"process {pids[0]} is" if len(pids) == 1 else f"processes {', '.join(pids)} are" if pids else "",
        memory_freed=size_words(receipt["memory_freed_bytes"]),
        device_memory_freed=size_words(on_device) if on_device else "",
        untouched=plural(untouched, "other model") if untouched else "",
        drained_requests=int(receipt["drained_requests"]),
        failed_requests=int(receipt["failed_requests"]),
    )
