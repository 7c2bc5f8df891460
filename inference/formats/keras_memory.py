"""Whether a Keras model remembers its earlier calls, judged by its description."""

from __future__ import annotations

from typing import Any

from inference.formats.facts import BEGINS_ANEW
from inference.formats.json_text import objects_in


def memory_notes(config: dict[str, Any]) -> tuple[str, ...]:
    """BEGINS_ANEW where a layer, perhaps within another one, is stateful."""
    return (BEGINS_ANEW,) if any(item.get("stateful") is True for item in objects_in(config)) else ()
