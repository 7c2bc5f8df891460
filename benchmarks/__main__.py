"""Start a portal in a temporary folder, measure, print the table. About six minutes; exit 1 where anything failed."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import checking, crowds, loading, memory, overhead, sandbox, table, throughput
from benchmarks.row import Bench, Row
from tests.running_portal import ROOT, RunningPortal, running_portal

NAMES = ("digits", "digits-2", "digits-3", "digits-4")
BEGIN_NOTHING_AFTER_S = 180.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder, running_portal(Path(folder) / "data") as portal:
        rows = _measure(_prepare(portal), began)
    for measure in (sandbox.measure, crowds.measure):
        rows += _told(measure())
    text = table.as_markdown(table.machine(load_before), rows)
    print(f"\n{text}\n\nMeasured in {time.monotonic() - began:.0f} s.")
    if given.write_readme:
        table.write_readme(ROOT / "README.md", text)
    return int(any(row.failures for row in rows))


def _prepare(portal: RunningPortal) -> Bench:
    """The sample under four names, all checked."""
    api = portal.client()
    api.checked("digits")
    for name in NAMES[1:]:
        api.upload(name, ROOT / "samples" / "digits.keras", preprocessing='{"preset": "unit"}')
    return Bench(portal, NAMES)


def _measure(bench: Bench, began: float) -> list[Row]:
    """In this order: what each leaves loaded is what the next one needs."""
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
