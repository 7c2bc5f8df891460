"""Whether a Keras model remembers its earlier calls, judged by its description."""

from __future__ import annotations

from typing import Any

from inference.formats.facts import BEGINS_ANEW


def memory_notes(config: dict[str, Any]) -> tuple[str, ...]:
    """BEGINS_ANEW where a layer, perhaps within another one, is stateful. Not recursive."""
    waiting: list[Any] = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if item.get("stateful") is True:
                return (BEGINS_ANEW,)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return ()
