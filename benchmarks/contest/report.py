"""The tables of the contest: the measurements, and how they compare with the aims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.contest import portal, rivals
from benchmarks.contest.rounds import MANY, SHARE_OF_ONE_CLIENT, Plan, Result

LIMIT = "the limit: a loop in one process"
LIMIT_TENSORFLOW = "the limit with TensorFlow"
GUNICORN, FLASK = rivals.ALL[0].name, rivals.ALL[-1].name
MODEL_SERVERS = tuple(rival.name for rival in rivals.ALL[1:-1])


def as_markdown(results: Sequence[Result], missing: Mapping[str, str], plan: Plan) -> str:
    known = {result.name: result for result in results}
    return "\n".join(
        [_explanation(results, plan), "", *_measured(results, missing), "", *_aims(known)],
    )


def _explanation(results: Sequence[Result], plan: Plan) -> str:
    requests = sum(result.requests for result in results if result.client_cpu_s)
    cpu_s = sum(result.client_cpu_s for result in results)
    return (
        f"Against others: the same MobileNetV2 (OpenVINO f32 unless it says TensorFlow), the same JPEGs (500×375), the "
        f"best five out, every answer compared with Keras'. The median of {plan.rounds} rounds in turn, windows of "
        f"{plan.window_s:g} s with {MANY} clients and of {plan.window_s * SHARE_OF_ONE_CLIENT:g} s with one. The load "
        f"generator took {cpu_s:.1f} s of processor time, {cpu_s / max(1, requests) * 1000:.3f} ms a request. For one "
        "client the loop and the portal compute a picture on all cores, the other servers with OpenVINO on one."
    )


def _measured(results: Sequence[Result], missing: Mapping[str, str]) -> list[str]:
    lines = [
        f"| who | answers a second, {MANY} clients | p99 | processor time of one | one client, p50 | failures |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        lines.append(
            f"| {result.name} | {result.per_second:,.{0 if result.per_second >= 100 else 1}f} | {result.p99_ms:.0f} ms "
            f"| {result.cpu_ms:.2f} ms | {result.alone_ms:.2f} ms | {result.failures} of {result.requests:,} |"
        )
    return [*lines, *(f"| {name} | {reason} | | | | |" for name, reason in missing.items())]


def _aims(known: Mapping[str, Result]) -> list[str]:
    """One line each; what was not measured is left out."""
    best = max((known[name] for name in MODEL_SERVERS if name in known), key=lambda r: r.per_second, default=None)
    rows = [
        _share(known, portal.V2_OPENVINO, LIMIT, 0.90),
        _share(known, portal.RAW_OPENVINO, LIMIT, 0.90),
        _share(known, portal.API_OPENVINO, LIMIT, 0.85),
        _share(known, portal.V2_TENSORFLOW, LIMIT_TENSORFLOW, 0.95),
        _share(known, portal.API_TENSORFLOW, LIMIT_TENSORFLOW, 0.95),
        None if best is None else _share(known, portal.V2_OPENVINO, best.name, 1.15),
        _share(known, portal.V2_OPENVINO, GUNICORN, 1.0),
        _share(known, portal.V2_OPENVINO, FLASK, 18),
        _beyond(known, portal.V2_OPENVINO, LIMIT, 1.0),
        _beyond(known, portal.API_OPENVINO, LIMIT, 2.0),
        *(_rate(known, name, 3000) for name in (portal.TINY_JSON, portal.TINY_PICTURE)),
        *(_time(known, name, 1.0) for name in (portal.TINY_JSON, portal.TINY_PICTURE)),
    ]
    return ["| aim | measured | at least |", "| --- | --- | --- |", *(row for row in rows if row is not None)]


def _share(known: Mapping[str, Result], name: str, of: str, least: float) -> str | None:
    if name not in known or of not in known or not known[of].per_second:
        return None
    share = known[name].per_second / known[of].per_second
    return f"| {name}, times {of} | {share:.2f} | {least:g} |"


def _beyond(known: Mapping[str, Result], name: str, of: str, most_ms: float) -> str | None:
    if name not in known or of not in known:
        return None
    return (
        f"| {name}, one client: beyond {of} | {known[name].alone_ms - known[of].alone_ms:.2f} ms "
        f"| at most {most_ms:g} ms |"
    )


def _rate(known: Mapping[str, Result], name: str, least: float) -> str | None:
    return f"| {name}, answers a second | {known[name].per_second:,.0f} | {least:,g} |" if name in known else None


def _time(known: Mapping[str, Result], name: str, most_ms: float) -> str | None:
    return f"| {name}, one client | {known[name].alone_ms:.2f} ms | below {most_ms:g} ms |" if name in known else None
