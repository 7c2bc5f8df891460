"""What is needed to ask a loaded version: inputs and outputs, and where its processes listen. No database rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference.postprocessing import Postprocessing
from inference.signature import Signature, TensorSpec

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class ServedInstance:
    """One process that serves the version and listens on `socket`. Memory is None until known."""

    pk: int
    socket: str
    engine: str
    device: str
    memory_bytes: int | None
    device_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded version. `answer` is the output that postprocessing applies to; None if it is not clear which."""

    model: str
    number: int
    format: str
    engine: str
    signature: Signature
    labels: Sequence[str]
    postprocessing: Postprocessing
    answer: TensorSpec | None
    takes_pictures: bool
    max_batch: int
    timeout_s: float
    instances: tuple[ServedInstance, ...]
    paths: tuple[str, ...]
    """The sockets of its instances."""

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"


@dataclass(frozen=True, slots=True)
class Pictures:
    """Encoded pictures; the model's process decodes and preprocesses them. `names`: the files' names as sent, or their
    indices; empty where the protocol has none."""

    data: Sequence[bytes | memoryview]
    names: Sequence[str | int] = ()


@dataclass(frozen=True, slots=True)
class Tensors:
    """Arrays by input name, with the dtypes and shapes of the signature."""

    inputs: Mapping[str, Array]


ModelInput = Pictures | Tensors
"""What a loaded version is asked about."""
