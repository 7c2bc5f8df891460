"""Whether an engine failed for lack of memory, and whether of the host or the GPU, judged by its error message."""

from __future__ import annotations

_NOT_COPIED = "dst tensor is not initialized"
"""TensorFlow's message if weights do not fit on a GPU."""
_WORDS = ("bad_alloc", "failed to allocate memory", "oom when allocating", "out of memory", "resource_exhausted")
_OF_A_GPU = (_NOT_COPIED, "device:gpu", "cuda_error")


def is_for_memory(error: Exception) -> bool:
    is_python_s = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
    return is_python_s or any(word in _text(error) for word in (*_WORDS, _NOT_COPIED))


def is_of_gpu(error: Exception) -> bool:
    """If `is_for_memory`: whether the GPU's memory was short, not the host's."""
    return any(word in _text(error) for word in _OF_A_GPU)


def _text(error: Exception) -> str:
    return f"{error} {error.__cause__}".lower()
