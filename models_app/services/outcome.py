"""How a job ends: with an outcome, or with a reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Progress = Callable[[int, str], None]
"""Called with per cent and a sentence."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job found: a sentence for people, and what programs read."""

    sentence: str
    result: dict[str, Any] | None = None


class JobFailed(Exception):
    """The job has no outcome; the text is a sentence for people."""
