"""How a version is run, as set by its owner: precision, threads, batching and limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypedDict

from inference.json_object import JsonObject, given_fields

PRECISIONS = ("f32", "bf16", "f16")

MIB = 1024 * 1024
MOST_ENDS = 64
LONGEST_NAME = 500


class GraphEnds(TypedDict):
    """The chosen input and output tensors of a frozen graph, which decide its signature; empty: the file's own."""

    graph_inputs: tuple[str, ...]
    graph_outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """What the owner gave; None leaves it to the portal. Sizes in bytes, `max_wait_ms` in milliseconds.

    `graph_inputs` and `graph_outputs` name a frozen graph's input and output tensors (`node` or `node:1`).
    """

    precision: str | None = None
    threads: int | None = None
    max_batch: int | None = None
    max_wait_ms: float | None = None
    queue_limit: int | None = None
    memory_limit_bytes: int | None = None
    predict_timeout_s: float | None = None
    graph_inputs: tuple[str, ...] | None = None
    graph_outputs: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        return given_fields(self)

    @property
    def graph_ends(self) -> GraphEnds:
        return {"graph_inputs": self.graph_inputs or (), "graph_outputs": self.graph_outputs or ()}


def parse_options(value: object) -> Options:
    """Options from decoded JSON. Raises ValidationFailed on "options"."""
    given = JsonObject.read("options", value, [field.name for field in fields(Options)])
    return Options(
        precision=given.choice("precision", PRECISIONS),
        threads=given.integer("threads", 1, 256),
        max_batch=given.integer("max_batch", 1, 1024),
        max_wait_ms=given.number("max_wait_ms", 0, 10_000),
        queue_limit=given.integer("queue_limit", 1, 100_000),
        memory_limit_bytes=given.integer("memory_limit_bytes", MIB, 2**50),
        predict_timeout_s=given.number("predict_timeout_s", 0.1, 3600),
        graph_inputs=given.texts("graph_inputs", MOST_ENDS, LONGEST_NAME),
        graph_outputs=given.texts("graph_outputs", MOST_ENDS, LONGEST_NAME),
    )
