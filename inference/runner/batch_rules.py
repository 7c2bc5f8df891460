"""Which requests may share a call of the engine, and with how many rows."""

from __future__ import annotations

from dataclasses import dataclass

from inference.engines import Engine
from inference.signature import Signature


@dataclass(frozen=True, slots=True)
class BatchRules:
    """How many rows are run in one call, and how long an idle engine waits for more. `is_batchable`: rows of several
    requests may share a call. `is_brief`: a call is so short that the event loop may make it."""

    max_batch: int
    max_wait_s: float = 0.0
    is_batchable: bool = True
    is_brief: bool = False


def is_batchable(signature: Signature) -> bool:
    """Whether every input and output has a free batch axis in front, so that requests can be run together."""
    return all(spec.shape and spec.shape[0] is None for spec in (*signature.inputs, *signature.outputs))


def is_padded(engine: Engine) -> bool:
    """Whether calls are padded to a few numbers of rows, because a new number costs more than unused rows do."""
    return engine.device != "cpu"


def row_counts(most: int) -> list[int]:
    """The numbers of rows that calls are padded to: powers of two, and `most`."""
    return [*(2**n for n in range((most - 1).bit_length())), most]


def has_fixed_sizes(signature: Signature) -> bool:
    """Whether only the number of rows differs between calls, so that all take about the same time."""
    return all(None not in spec.shape[1:] for spec in signature.inputs)


def is_batch_of_one(signature: Signature) -> bool:
    """Whether the file fixes the batch at one, so that several rows are run one after the other."""
    return bool(signature.inputs) and all(spec.shape and spec.shape[0] == 1 for spec in signature.inputs)
