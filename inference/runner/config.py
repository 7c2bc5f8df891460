"""A runner's configuration, which its owner writes as JSON to its standard input."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_BATCH = 16
"""The most rows in a call of the engine, unless the version's options set `max_batch`."""
DEFAULT_QUEUE_LIMIT = 128
MOST_PICTURES = 64
"""In one request, whatever the protocol."""


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Everything that a runner may know; it holds no secrets."""

    model_path: str
    format: str
    engine: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    signature: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Names that a conversion had to change: the converted file's names → the original's."""
    precision: str = "f32"
    threads: int | None = None
    """The most threads that the engine uses; None: what is fastest here."""
    cache_directory: str = ""
    """Where the engine keeps what it compiled, inside the runner's own folders; set by the owner."""
    max_batch: int | None = None
    """The most rows in a call; None: what is fastest here."""
    max_wait_ms: float = 0.0
    queue_limit: int = DEFAULT_QUEUE_LIMIT
    memory_limit_bytes: int | None = None
    predict_timeout_s: float = 30.0
    graph_inputs: tuple[str, ...] = ()
    graph_outputs: tuple[str, ...] = ()
    """Tensors chosen for a frozen graph instead of its own."""
    is_trusted: bool = False
    """Somebody vouches for the file: it may bring Python code, which runs inside the sandbox."""
    owner_pid: int = 0
    is_spare: bool = False
    """Import the engine, report "warm", then wait on the status socket for the configuration of the model to load."""
    sandbox: str = "auto"
    """The value of PORTAL_SANDBOX: auto, require or off."""

    def encode(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> RunnerConfig:
        return cls(**json.loads(data))

    @property
    def path(self) -> Path:
        return Path(self.model_path)
