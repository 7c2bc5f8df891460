"""What an engine says when memory ran out, and whose memory it was."""

from __future__ import annotations

import pytest

from inference.engines import ModelUnusable
from inference.runner.shortage import is_for_memory, is_of_gpu

ON_THE_GPU = (
    "Failed copying input tensor from /job:localhost/replica:0/task:0/device:CPU:0 to "
    "/job:localhost/replica:0/task:0/device:GPU:0 in order to run _EagerConst: Dst tensor is not initialized.",
    "OOM when allocating tensor with shape[4096,4096] and type float on /job:localhost/replica:0/task:0/device:GPU:0 "
    "by allocator GPU_0_bfc",
    "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
)
ON_THE_HOST = (
    "OOM when allocating tensor with shape[4096,4096] and type float on /job:localhost/replica:0/task:0/device:CPU:0 "
    "by allocator cpu",
    "std::bad_alloc",
    "Failed to allocate memory",
)


@pytest.mark.parametrize("text", ON_THE_GPU)
def test_the_memory_of_a_gpu_is_told_from_the_hosts(text: str) -> None:
    wrapped = ModelUnusable("The model was read but cannot be run.")
    wrapped.__cause__ = RuntimeError(text)

    assert is_for_memory(wrapped) and is_of_gpu(wrapped)


@pytest.mark.parametrize("text", ON_THE_HOST)
def test_the_memory_of_the_host_is_not_the_gpus(text: str) -> None:
    assert is_for_memory(RuntimeError(text)) and not is_of_gpu(RuntimeError(text))


def test_another_failure_is_no_shortage() -> None:
    assert not is_for_memory(ModelUnusable("The operation Foo is not known on device:GPU:0."))
