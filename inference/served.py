"""A version as those who ask it need it: what it takes and gives, where its processes listen. No row of a database."""

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
    """One process that answers. `socket` is where; memory in bytes, None where it is not known yet."""

    pk: int
    socket: str
    engine: str
    device: str
    memory_bytes: int | None
    device_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded version. `answer` is the output that postprocessing is about; None where nothing tells which."""

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
    """Encoded pictures to ask about; the model's process decodes and preprocesses them."""

    data: Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Tensors:
    """Arrays by input name, in dtype and shape as the signature says."""

    inputs: Mapping[str, Array]


Question = Pictures | Tensors
