"""The messages of a limited child to its parent."""

from __future__ import annotations

import json
import os
from typing import Any


class Report:
    """Writes lines of JSON to the descriptor, unbuffered."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def progress(self, percent: int, detail: str) -> None:
        """`detail` is a sentence for people."""
        self.send(progress=percent, detail=detail)

    def part(self, **facts: Any) -> None:
        """A part of the answer that stays valid even if this process fails later."""
        self.send(part=facts)

    def send(self, **facts: Any) -> None:
        with os.fdopen(os.dup(self._descriptor), "wb") as line:
            line.write(json.dumps(facts).encode() + b"\n")
