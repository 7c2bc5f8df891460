"""Whether an engine gave up for want of memory: each says so in words of its own."""

from __future__ import annotations

_WORDS = ("bad_alloc", "failed to allocate memory", "oom when allocating", "out of memory", "resource_exhausted")


def is_for_memory(error: Exception) -> bool:
    text = f"{error} {error.__cause__}".lower()
    is_python_s = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
    return is_python_s or any(word in text for word in _WORDS)
