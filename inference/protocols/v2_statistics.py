"""V2's statistics extension: counts and nanoseconds accumulated since the processes began, and their memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

from inference.json_object import is_integer
from inference.runner.statistics import MOST_SIZES
from inference.served import Served, ServedInstance

_PARTS = {"success": "success", "fail": "fail", "queue": "queue", "compute_input": "decode",
          "compute_infer": "inference"}  # fmt: skip
_NOTHING = {"count": 0, "ns": 0}
_SIZE = re.compile(r"[0-9]{1,9}\Z")
MOST_COUNTED = 2**56
"""Two years in nanoseconds. The sum over a version's processes still fits in 64 bits, the most that orjson writes."""


def model_statistics(served: Served, told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row of `model_stats`. `told` holds the statistics of the version's processes (Runners.ask_statistics)."""
    parts = {name: _sum(told, part) for name, part in _PARTS.items()}
    known_ns = sum(parts[name]["ns"] for name in ("queue", "compute_input", "compute_infer"))
    success = parts["success"]  # compute_output gets the rest of its time, and its count, as perf_analyzer expects
    parts["compute_output"] = {"count": success["count"], "ns": max(0, success["ns"] - known_ns)}
    return {
        "name": served.model,
        "version": str(served.number),
        "last_inference": max((_count(one.get("last_inference_ms")) for one in told), default=0),
        "inference_count": sum(_count(one.get("inference_count")) for one in told),
        "execution_count": sum(_count(one.get("execution_count")) for one in told),
        "inference_stats": parts | {"cache_hit": _NOTHING, "cache_miss": _NOTHING},
        "response_stats": {},
        "batch_stats": _batches(told),
        "memory_usage": [usage for instance in served.instances for usage in _memory(instance)],
    }


def _sum(told: Sequence[Mapping[str, Any]], part: str) -> dict[str, int]:
    leaves = [leaf for one in told if isinstance(leaf := _map(one, "ns").get(part), dict)]
    return {key: sum(_count(leaf.get(key)) for leaf in leaves) for key in ("count", "ns")}


def _batches(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    counts: Counter[int] = Counter()
    nanoseconds: Counter[int] = Counter()
    for one in told:
        for size, leaf in islice(_map(one, "batches").items(), 2 * MOST_SIZES):
            if _SIZE.match(size) and isinstance(leaf, dict):
                counts[int(size)] += _count(leaf.get("count"))
                nanoseconds[int(size)] += _count(leaf.get("ns"))
    return [
        {
            "batch_size": size,
            "compute_input": {"count": counts[size], "ns": 0},
            "compute_infer": {"count": counts[size], "ns": nanoseconds[size]},
            "compute_output": {"count": counts[size], "ns": 0},
        }
        for size in sorted(counts)
    ]


def _memory(instance: ServedInstance) -> list[dict[str, Any]]:
    """The memory of only the process that holds the model."""
    usage = []
    if instance.memory_bytes is not None:
        usage.append({"type": "CPU", "id": 0, "byte_size": instance.memory_bytes})
    if instance.device_memory_bytes is not None:
        number = "".join(filter(str.isdigit, instance.device))
        usage.append({"type": "GPU", "id": int(number or 0), "byte_size": instance.device_memory_bytes})
    return usage


def _map(one: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object at `key`, empty if there is none: a process's statistics are untrusted."""
    value = one.get(key)
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    """The count; 0 if it is invalid."""
    return cast(int, value) if is_integer(value, 0, MOST_COUNTED) else 0
