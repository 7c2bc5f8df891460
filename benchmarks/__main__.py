"""Measure, print the tables: first the portal alone, about six minutes, then the contest with its rivals, about seven
(benchmarks/contest). Exit 1 where anything failed. BENCH_WINDOW_S and BENCH_ROUNDS make the contest longer."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import checking, crowds, loading, memory, overhead, sandbox, table, tensorflow_load, throughput
from benchmarks.contest import contest
from benchmarks.row import Bench, Row
from tests.running_portal import ROOT, RunningPortal, running_portal

NAMES = ("digits", "digits-2", "digits-3", "digits-4")
BEGIN_NOTHING_AFTER_S = 180.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    parser.add_argument("--only", choices=("portal", "rivals"), help="one of the two parts")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started is ended
    parts = {"portal": _portal_alone, "rivals": _rivals}
    has_failed = False
    for part, measure in parts.items():
        if given.only not in (None, part):
            continue
        load_before, began = os.getloadavg()[0], time.monotonic()
        measured, part_has_failed = measure()
        has_failed |= part_has_failed
        text = f"{table.machine(load_before)}\n\n{measured}"
        print(f"\n{text}\n\nMeasured in {time.monotonic() - began:.0f} s.", flush=True)
        if given.write_readme:
            table.write_readme(ROOT / "README.md", part, text)
    return int(has_failed)


def _portal_alone() -> tuple[str, bool]:
    rows = _rows_of_the_portal()
    return table.as_markdown(rows), any(row.failures for row in rows)


def _rivals() -> tuple[str, bool]:
    outcome = contest.run()
    return outcome.text, outcome.has_failed


def _rows_of_the_portal() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder, running_portal(Path(folder) / "data") as portal:
        rows = _measure(_prepare(portal), time.monotonic())
    for measure in (sandbox.measure, tensorflow_load.measure, crowds.measure):
        rows += _told(measure())
    return rows


def _prepare(portal: RunningPortal) -> Bench:
    """Upload the sample under four names, all checked."""
    api = portal.client()
    api.checked("digits")
    for name in NAMES[1:]:
        api.upload(name, ROOT / "samples" / "digits.keras", preprocessing='{"preset": "unit"}')
    return Bench(portal, NAMES)


def _measure(bench: Bench, began: float) -> list[Row]:
    """The order matters: each step needs the models that the step before leaves loaded."""
    steps: list[Callable[[Bench], list[Row]]] = [
        loading.load_first,
        overhead.measure,
        throughput.measure,
        memory.measure,
        loading.load_together,
        checking.measure,
    ]
    rows: list[Row] = []
    for step in steps:
        if time.monotonic() - began > BEGIN_NOTHING_AFTER_S:
            rows.append(Row("The rest", "not measured: the time was over", failures=1))
            break
        rows += _told(step(bench))
    return rows


def _told(rows: list[Row]) -> list[Row]:
    for row in rows:
        print(f"{row.what}: {row.measured}", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
