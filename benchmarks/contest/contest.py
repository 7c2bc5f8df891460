"""The whole contest: starts all servers, measures them in turn, compares and ends them."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import environments, portal, report, rivals, rounds
from benchmarks.contest.window import Contestant


@dataclass(frozen=True, slots=True)
class Outcome:
    """`text` is Markdown. A rival that cannot be installed is no failure; a wrong answer is."""

    text: str
    has_failed: bool


def run() -> Outcome:
    began = time.monotonic()
    material = environments.material()
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="portal-rivals-") as name, ExitStack() as stack:
        folder = Path(name)
        contestants: list[Contestant] = [
            stack.enter_context(rivals.limit("openvino", report.LIMIT, material, folder)),
            *stack.enter_context(portal.started(material, folder)),
            stack.enter_context(rivals.limit("tensorflow", report.LIMIT_TENSORFLOW, material, folder)),
        ]
        for rival in rivals.ALL:
            try:
                contestants.append(stack.enter_context(rivals.started(rival, material, folder)))
            except environments.CannotInstall as reason:
                missing[rival.name] = str(reason)
            except AssertionError as reason:
                print(f"{rival.name}: {reason}", flush=True)
                missing[rival.name] = "was installed, but does not answer as Keras does"
        results = rounds.measure(contestants, rounds.Plan())
    print(f"The contest took {time.monotonic() - began:.0f} s.", flush=True)
    return Outcome(report.as_markdown(results, missing, rounds.Plan()), any(result.failures for result in results))
