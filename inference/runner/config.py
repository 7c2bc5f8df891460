"""What the owner tells a runner at its start, as JSON on standard input."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_BATCH = 16
"""Rows in a call of the engine, unless the version's options say more."""
DEFAULT_QUEUE_LIMIT = 128
MOST_PICTURES = 64
"""In one request, whatever the protocol."""


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Everything a runner may know. No secret is among it."""

    model_path: str
    format: str
    engine: str
    preprocessing: dict[str, Any] = field(default_factory=dict)
    signature: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """What a conversion had to call otherwise: the converted file's names → the original's."""
    precision: str = "f32"
    threads: int | None = None
    """How many calls the engine computes side by side; None: what is faster here."""
    cache_directory: str = ""
    """Where the engine keeps what it compiled, inside of the runner's own folders; the owner says it."""
    max_batch: int | None = None
    """Rows in a call; None: what is faster here."""
    max_wait_ms: float = 0.0
    queue_limit: int = DEFAULT_QUEUE_LIMIT
    memory_limit_bytes: int | None = None
    predict_timeout_s: float = 30.0
    graph_inputs: tuple[str, ...] = ()
    graph_outputs: tuple[str, ...] = ()
    """The ends of a frozen graph where its own are not meant."""
    is_trusted: bool = False
    """Somebody answers for the file: it may bring Python code, inside the sandbox."""
    owner_pid: int = 0
    is_spare: bool = False
    """Import the engine, say warm, then wait on the status socket for the configuration of the model to load."""
    sandbox: str = "auto"
    """What PORTAL_SANDBOX says: auto, require or off."""

    def encode(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> RunnerConfig:
        return cls(**json.loads(data))

    @property
    def path(self) -> Path:
        return Path(self.model_path)
