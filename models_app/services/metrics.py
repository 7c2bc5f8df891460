"""What `/metrics` answers, in Prometheus' text format.

Nothing is kept in the process that answers: totals of an instance are the registry's (at most two seconds old, they
outlive its runner), histograms come from the runners themselves, each under its own process. So it does not matter
which web process is asked, and no series ever goes backwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from asgiref.sync import async_to_sync
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from inference.client import runners
from inference.errors import PortalError
from inference.json_object import is_integer
from models_app.choices import InstanceState
from models_app.models import Instance, ModelVersion, Node
from models_app.services.nodes import slots_free

logger = logging.getLogger("portal.metrics")

ASK_LIMIT_S = 2.0
MOST_COUNTED = 2**53
MOST_CODES = 100
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
OF_VERSION = ("model", "version")
OF_COPY = (*OF_VERSION, "copy")
OF_PROCESS = (*OF_VERSION, "process")
SPANS = {
    "queue": ("portal_queue_seconds", "Time that requests waited for the engine."),
    "decode": ("portal_decode_seconds", "Time that decoding the pictures of a request took."),
    "inference": ("portal_inference_seconds", "Time that the engine took for a request."),
    "total": ("portal_request_seconds", "Time from a request's arrival in the runner to its answer."),
}


def render() -> bytes:
    """Everything, as text. Asks each ready runner; one that does not answer in time is left out."""
    registry = CollectorRegistry(auto_describe=False)
    versions = list(
        ModelVersion.objects.select_related("model").prefetch_related("instances").order_by("model__name", "number")
    )
    ready = [i for v in versions for i in v.shown_instances if i.state == InstanceState.READY and i.socket]
    figures: dict[int, Mapping[str, Any]] = async_to_sync(_ask_all)(ready)
    registry.register(_Found([*_of_versions(versions), *_of_runners(versions, figures), *_of_nodes()]))
    return generate_latest(registry)


class _Found(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def _ask_all(instances: Sequence[Instance]) -> dict[int, Mapping[str, Any]]:
    """The figures of each runner that answered, by the instance's key."""

    async def ask(instance: Instance) -> Mapping[str, Any] | None:
        try:
            return await runners.ask_statistics(instance.socket, timeout_s=ASK_LIMIT_S)
        except PortalError as error:
            logger.info("no figures of instance %d: %s", instance.pk, error.message)
            return None

    answers = await asyncio.gather(*(ask(instance) for instance in instances))
    return {instance.pk: said for instance, said in zip(instances, answers, strict=True) if said is not None}


def _of_versions(versions: Sequence[ModelVersion]) -> Iterator[Metric]:
    """What the registry knows."""
    state = GaugeMetricFamily("portal_version_state", "1 for the state of a version.", labels=(*OF_VERSION, "state"))
    requests = CounterMetricFamily("portal_requests", "Requests that a loaded copy was asked.", labels=OF_COPY)
    errors = CounterMetricFamily("portal_errors", "Requests that failed, not by the sender's fault.", labels=OF_COPY)
    memory = GaugeMetricFamily("portal_memory_bytes", "Memory of the process that holds a copy.", labels=OF_COPY)
    on_device = GaugeMetricFamily(
        "portal_device_memory_bytes", "Memory of the device that a copy takes.", labels=(*OF_COPY, "device")
    )
    copies = GaugeMetricFamily(
        "portal_instance_info",
        "1 for each copy: its state, the level of its sandbox, its engine.",
        labels=(*OF_COPY, "state", "sandbox", "engine", "device", "node"),
    )
    nodes = dict(Node.objects.values_list("pk", "name"))
    for version in versions:
        of_version = _labels(version)
        state.add_metric([*of_version, str(version.state)], 1)
        for instance in version.shown_instances:
            of_copy = [*of_version, str(instance.pk)]
            requests.add_metric(of_copy, instance.requests)
            errors.add_metric(of_copy, instance.errors)
            place = nodes.get(instance.node_id, "")
            facts = [str(instance.state), instance.sandbox, instance.engine, instance.device, place]
            copies.add_metric([*of_copy, *facts], 1)
            if instance.memory_bytes is not None:
                memory.add_metric(of_copy, instance.memory_bytes)
            if instance.device_memory_bytes is not None:
                on_device.add_metric([*of_copy, instance.device], instance.device_memory_bytes)
    yield from (state, requests, errors, memory, on_device, copies)


def _of_runners(versions: Sequence[ModelVersion], figures: Mapping[int, Mapping[str, Any]]) -> Iterator[Metric]:
    """What the runners count. Each is untrusted: figures that make no sense are left out, with all of that runner."""
    metrics = _RunnerMetrics()
    for version in versions:
        for instance in version.shown_instances:
            said = figures.get(instance.pk)
            if said is None:
                continue
            try:
                metrics.add([*_labels(version), str(instance.pid or 0)], said)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
                logger.warning("the runner of instance %d answered figures that make no sense", instance.pk)
    yield from metrics.all()


class _RunnerMetrics:
    """The series of all runners. `add` takes all of a runner's figures or, where one makes no sense, none."""

    def __init__(self) -> None:
        self._spans = {key: HistogramMetricFamily(name, text, labels=OF_PROCESS) for key, (name, text) in SPANS.items()}
        self._batches = HistogramMetricFamily("portal_batch_rows", "Rows in a call of the engine.", labels=OF_PROCESS)
        self._depth = GaugeMetricFamily("portal_queue_depth", "Requests that wait for the engine.", labels=OF_PROCESS)
        self._in_flight = GaugeMetricFamily(
            "portal_requests_in_flight", "Requests that are not answered yet.", labels=OF_PROCESS
        )
        self._errors = CounterMetricFamily(
            "portal_refusals", "Requests that got no prediction, by the error's code.", labels=(*OF_PROCESS, "code")
        )

    def add(self, labels: Sequence[str], said: Mapping[str, Any]) -> None:
        spans = {key: _buckets(said["histograms"][key]) for key in SPANS}
        batches = _batch_buckets(said["batches"])
        depth, in_flight = _count(said["queue_depth"]), _count(said["in_flight"])
        errors = {str(code)[:40]: _count(count) for code, count in dict(said["errors"]).items()}
        if len(errors) > MOST_CODES:
            raise ValueError("more codes than there are")
        for key, (buckets, total) in spans.items():
            self._spans[key].add_metric(labels, buckets=buckets, sum_value=total)
        self._batches.add_metric(labels, buckets=batches[0], sum_value=batches[1])
        self._depth.add_metric(labels, depth)
        self._in_flight.add_metric(labels, in_flight)
        for code, count in errors.items():
            self._errors.add_metric([*labels, code], count)

    def all(self) -> Sequence[Metric]:
        return [*self._spans.values(), self._batches, self._depth, self._in_flight, self._errors]


def _of_nodes() -> Iterator[Metric]:
    slots = GaugeMetricFamily("portal_slots", "Models that a node may hold at once.", labels=["node"])
    free = GaugeMetricFamily("portal_slots_free", "Slots of a node that hold no model.", labels=["node"])
    seen = GaugeMetricFamily(
        "portal_node_last_seen_timestamp_seconds", "When the node's cluster last reported.", labels=["node"]
    )
    memory = GaugeMetricFamily("portal_node_device_memory_bytes", "Memory of a device.", labels=["node", "device"])
    left = GaugeMetricFamily("portal_node_device_free_bytes", "Free memory of a device.", labels=["node", "device"])
    for node in Node.objects.all():
        slots.add_metric([node.name], node.slots)
        free.add_metric([node.name], slots_free(node))
        if node.last_seen is not None:
            seen.add_metric([node.name], node.last_seen.timestamp())
        for device in node.devices:
            memory.add_metric([node.name, device["id"]], device["memory_bytes"] or 0)
            left.add_metric([node.name, device["id"]], device["free_bytes"] or 0)
    yield from (slots, free, seen, memory, left)


def _labels(version: ModelVersion) -> list[str]:
    return [version.model.name, str(version.number)]


def _buckets(histogram: Mapping[str, Any]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative counts by upper bound, as Prometheus has them. Raises ValueError where bounds and counts disagree."""
    bounds = [float(bound) for bound in histogram["bounds"]]
    counts = [_count(count) for count in histogram["counts"]]
    if len(counts) != len(bounds) + 1 or bounds != sorted(bounds) or len(bounds) > 100:
        raise ValueError("bounds and counts disagree")
    return _cumulative([f"{bound:g}" for bound in bounds], counts), float(histogram["sum"])


def _batch_buckets(batches: Mapping[str, Mapping[str, Any]]) -> tuple[list[tuple[str, float]], float]:
    counts, rows = [0] * (len(BATCH_BOUNDS) + 1), 0
    for size, of_size in batches.items():
        of_call, calls = _count(int(size)), _count(of_size["count"])
        place = next((i for i, bound in enumerate(BATCH_BOUNDS) if of_call <= bound), len(BATCH_BOUNDS))
        counts[place] += calls
        rows += of_call * calls
    return _cumulative([str(bound) for bound in BATCH_BOUNDS], counts), rows


def _cumulative(bounds: Sequence[str], counts: Sequence[int]) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip([*bounds, "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


def _count(value: object) -> int:
    """Raises ValueError for all but whole numbers from 0 to MOST_COUNTED."""
    if not is_integer(value, 0, MOST_COUNTED):
        raise ValueError("no count")
    return cast(int, value)
