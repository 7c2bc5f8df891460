"""What the engine is asked to do: requests, the parts that each is run in, and the calls that run parts together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
NO_PARTS: Iterator[Any] = iter(())


@dataclass(eq=False, slots=True)
class Work:
    """One request: its deadline (monotonic clock), and its parts that have been queued so far."""

    deadline: float
    parts: list[Part] = field(default_factory=list)
    uncut: Iterator[Part] = NO_PARTS
    """The parts not queued yet. While there are any, at least one of `parts` has not been run."""
    has_place: bool = False
    queued: int = 0
    """How many of its parts wait in the queue."""
    is_over: bool = False
    """It was answered, or nobody waits any more: parts still in the queue are not run."""
    queued_at: float = 0.0


@dataclass(eq=False, slots=True)
class Part:
    """A part of a request that is run in one call, and its result: `outputs` by name, batch axis first, or `error`."""

    work: Work
    inputs: Mapping[str, Array]
    rows: int
    key: list[tuple[int, ...]]
    """Parts with equal keys can be run as one batch: the same shapes but for the batch axis."""
    outputs: dict[str, Array] = field(default_factory=dict)
    error: Exception | None = None
    began: float = 0.0
    ended: float = 0.0
    make: Callable[[], Mapping[str, Array]] | None = None
    """Makes `inputs` on the engine's thread; an exception becomes the part's `error`."""


@dataclass(eq=False, slots=True)
class Call:
    """One call of the engine. If `rows` is 0, nothing was run: its parts were late or their inputs failed."""

    parts: Sequence[Part]
    rows: int = 0
    seconds: float = 0.0


def stack(batch: Sequence[Part], padding: int) -> Mapping[str, Array]:
    """All rows in one batch, padded with `padding` copies of the last row, as that is one that the model accepts."""
    if len(batch) == 1 and not padding:
        return batch[0].inputs
    last = batch[-1].inputs
    return {
        name: np.concatenate([*(part.inputs[name] for part in batch), *[last[name][-1:]] * padding]) for name in last
    }
