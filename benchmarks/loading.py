"""Seconds from the load request until the model answers, and from the unload request until its process is gone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.row import Bench, Row, median


def load_first(bench: Bench) -> list[Row]:
    """The first load; the model stays loaded."""
    seconds = _timed_load(bench, bench.first)
    return [Row("Load, the first one: request to ready", f"{seconds:.1f} s")]


def load_together(bench: Bench) -> list[Row]:
    """Unload the model that was loaded, load all at the same time, then unload each alone, idle."""
    receipts = [_unload(bench, bench.first)]
    began = time.perf_counter()
    with ThreadPoolExecutor(len(bench.names)) as pool:
        each = sorted(pool.map(lambda name: _timed_load(bench, name), bench.names))
    whole = time.perf_counter() - began
    receipts += [_unload(bench, name) for name in bench.names]
    shown = ", ".join(f"{seconds:.1f}" for seconds in each)
    return [
        Row(f"Load, {len(each)} at once: each; all", f"{shown} s; {whole:.1f} s"),
        Row(
            f"Unload, idle: request to process gone, p50 of {len(receipts)}",
            f"{median([wall for wall, _ in receipts]) * 1000:.0f} ms",
            failures=sum(not has_exited for _, has_exited in receipts),
        ),
    ]


def _timed_load(bench: Bench, name: str) -> float:
    api = bench.portal.client()
    began = time.perf_counter()
    api.load(name)
    return time.perf_counter() - began


def _unload(bench: Bench, name: str) -> tuple[float, bool]:
    api = bench.portal.client()
    began = time.perf_counter()
    receipt = api.unload(name)
    return time.perf_counter() - began, bool(receipt["process_exited"]) and len(receipt["pids"]) == 1
