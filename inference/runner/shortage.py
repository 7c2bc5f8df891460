"""Whether an engine gave up for want of memory, and of whose: each says so in words of its own."""

from __future__ import annotations

_NOT_COPIED = "dst tensor is not initialized"
"""TensorFlow, where weights find no room on a GPU."""
_WORDS = ("bad_alloc", "failed to allocate memory", "oom when allocating", "out of memory", "resource_exhausted")
_OF_A_GPU = (_NOT_COPIED, "device:gpu", "cuda_error")


def is_for_memory(error: Exception) -> bool:
    is_python_s = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
    return is_python_s or any(word in _text(error) for word in (*_WORDS, _NOT_COPIED))


def is_of_gpu(error: Exception) -> bool:
    """Of one that is for memory: whether it was the GPU's, not the host's."""
    return any(word in _text(error) for word in _OF_A_GPU)


def _text(error: Exception) -> str:
    return f"{error} {error.__cause__}".lower()
